#!lua
-- Stores what a running job said: new user bytes, so not allowed when the server is full.
-- BullMQ layout: update progress, add log, update data; here only for the lock's owner.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), id, token, keep_logs or '', progress (JSON) or '', data (JSON) or '',
--          log lines...
-- Returns  'done' | 'lost' (the lock is not ours: nothing is written) | 'gone'
-- Events   progress
--
-- include lib/events.lua
-- include lib/shape.lua
local FIRST_LINE = 7

local base, id = KEYS[1], ARGV[2]
if redis.call('EXISTS', base .. id) == 0 then
  return 'gone'
elseif redis.call('GET', base .. id .. ':lock') ~= ARGV[3] then
  return 'lost'
end
check_shape(base, 'events', 'meta')
redis.call('HLEN', base .. id)
redis.call('LLEN', base .. id .. ':logs')

if ARGV[5] ~= '' then
  redis.call('HSET', base .. id, 'progress', ARGV[5])
  emit_trimmed(base, 'progress', 'jobId', id, 'data', ARGV[5])
end
for i = FIRST_LINE, #ARGV do
  redis.call('RPUSH', base .. id .. ':logs', ARGV[i])
end
if #ARGV >= FIRST_LINE and ARGV[4] ~= '' then
  -- `-0` is no index: keeping none is a list trimmed to beyond its end.
  local first = ARGV[4] == '0' and 9007199254740991 or '-' .. ARGV[4]
  redis.call('LTRIM', base .. id .. ':logs', first, -1)
end
if ARGV[6] ~= '' then
  redis.call('HSET', base .. id, 'data', ARGV[6])
end
return 'done'
