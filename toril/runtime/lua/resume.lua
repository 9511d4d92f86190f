#!lua flags=allow-oom
-- Resumes the queue. What a BullMQ v5 process has set aside in `paused` comes first to the others,
-- at most MERGE_MAX per call, while the queue is still paused.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request
-- Returns  'done' | 'more' (ask again: the queue is still paused)
-- Events   resumed, with the last call; also of a queue that was not paused
-- BullMQ layout: resume
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/events.lua
-- include lib/marker.lua
local MERGE_MAX = 5000

local base = KEYS[1]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'meta', 'events', 'marker', 'wait', 'paused', 'prioritized', 'delayed')

if redis.call('EXISTS', base .. 'wait') == 0 and redis.call('EXISTS', base .. 'paused') == 1 then
  redis.call('RENAME', base .. 'paused', base .. 'wait')
end
local aside = redis.call('LRANGE', base .. 'paused', 0, MERGE_MAX - 1)
if #aside > 0 then
  redis.call('RPUSH', base .. 'wait', unpack(aside))
  redis.call('LTRIM', base .. 'paused', #aside, -1)
  if redis.call('EXISTS', base .. 'paused') == 1 then
    return remember_reply(base, ARGV[2], ARGV[3], 'more')
  end
end

redis.call('HDEL', base .. 'meta', 'paused')
if redis.call('EXISTS', base .. 'wait', base .. 'prioritized') > 0 then
  redis.call('ZADD', base .. 'marker', 0, '0')
else
  delay_mark(base)
end
emit(base, 'resumed')
return remember_reply(base, ARGV[2], ARGV[3], 'done')
