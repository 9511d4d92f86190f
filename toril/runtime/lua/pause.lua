#!lua flags=allow-oom
-- Pauses the queue: nothing is claimed until it is resumed, what runs runs on.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request
-- Returns  'done'
-- Events   paused, also of a queue that is paused already
-- BullMQ layout: pause
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/events.lua
local base = KEYS[1]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'meta', 'events')

redis.call('HSET', base .. 'meta', 'paused', 1)
redis.call('DEL', base .. 'marker')
emit(base, 'paused')
return remember_reply(base, ARGV[2], ARGV[3], 'done')
