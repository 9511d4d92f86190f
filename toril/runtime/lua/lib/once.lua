-- include lib/clock.lua
-- Requests that must not be executed twice. One whose reply was lost is sent again under the same
-- name, and is answered from memory. Key `toril:last:<nonce>`, one per caller that is under way,
-- with the name and the reply of its last request.

local REMEMBER_REQUEST_MS = 300000

-- The reply to this request if it was executed before; nonce '' is never remembered.
local function remembered_reply(base, nonce, name)
  if nonce == '' then
    return nil
  end
  local kept = redis.call('HMGET', base .. 'toril:last:' .. nonce, 'request', 'reply')
  return kept[1] == name and kept[2] and cmsgpack.unpack(kept[2]) or nil
end

local function remember_reply(base, nonce, name, reply)
  if nonce ~= '' then
    local key = base .. 'toril:last:' .. nonce
    redis.call('HSET', key, 'request', name, 'reply', cmsgpack.pack(reply))
    redis.call('PEXPIRE', key, REMEMBER_REQUEST_MS)
  end
  return reply
end
