#!lua flags=allow-oom
-- Makes delayed jobs runnable now, the next ones first. As with BullMQ they all go among those
-- without a priority, and their `delay` stays.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, most at once
-- Returns  {how many, how many are still delayed}
-- Events   waiting, of each
-- BullMQ layout: promote jobs
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/enqueue.lua
local base = KEYS[1]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'delayed', 'wait', 'marker', 'events', 'meta')
local ids = redis.call('ZRANGE', base .. 'delayed', 0, ARGV[4] - 1)
if #ids == 0 then
  return {0, 0}
end

for _, id in ipairs(ids) do
  emit_trimmed(base, 'waiting', 'jobId', id, 'prev', 'delayed')
end
redis.call('ZREM', base .. 'delayed', unpack(ids))
redis.call('LPUSH', base .. 'wait', unpack(ids))
base_mark(base)
local left = redis.call('ZCARD', base .. 'delayed')
return remember_reply(base, ARGV[2], ARGV[3], {#ids, left})
