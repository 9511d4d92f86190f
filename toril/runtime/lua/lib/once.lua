-- include lib/clock.lua
-- Requests that must not be executed twice. One whose reply was lost is sent again under the same
-- name, and is answered from memory. Key `toril:last:<nonce>`, one per caller that is under way,
-- with the name and the reply of its last request.

-- Text, because a number is written out and read again at every call.
local REMEMBER_REQUEST_MS = '300000'

-- The reply to this request if it was executed before; nonce '' is never remembered.
local function remembered_reply(base, nonce, name)
  if nonce == '' then
    return nil
  end
  local kept = redis.call('GET', base .. 'toril:last:' .. nonce)
  if kept and kept:sub(1, #name + 1) == name .. ' ' then
    return cmsgpack.unpack(kept:sub(#name + 2))
  end
end

local function remember_reply(base, nonce, name, reply)
  if nonce ~= '' then
    local kept = name .. ' ' .. cmsgpack.pack(reply)
    redis.call('SET', base .. 'toril:last:' .. nonce, kept, 'PX', REMEMBER_REQUEST_MS)
  end
  return reply
end
