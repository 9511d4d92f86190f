#!lua
-- Tells how far a job is, wherever it is.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id, progress (JSON)
-- Returns  'done' | 'gone'; only 'done' changes anything
-- Events   progress
-- BullMQ layout: update progress
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/events.lua
local base, id = KEYS[1], ARGV[4]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
if redis.call('HLEN', base .. id) == 0 then
  return 'gone'
end
check_shape(base, 'events', 'meta')

redis.call('HSET', base .. id, 'progress', ARGV[5])
emit_trimmed(base, 'progress', 'jobId', id, 'data', ARGV[5])
return remember_reply(base, ARGV[2], ARGV[3], 'done')
