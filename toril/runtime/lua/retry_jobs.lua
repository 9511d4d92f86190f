#!lua flags=allow-oom
-- Has finished jobs run again, the oldest first. As with BullMQ they all go among those without a
-- priority.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce, name of the request, state ('failed' | 'completed'), most at once,
--          latest_ms (finished until then; '' = now, which no other time exceeds)
-- Returns  {how many, how many such jobs are left, latest_ms}
-- Events   waiting, of each
-- BullMQ layout: retry jobs
--
-- include lib/clock.lua
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/enqueue.lua
-- include lib/reprocess.lua
local base, state = KEYS[1], ARGV[4]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, state, 'wait', 'marker', 'events', 'meta')
local now_ms = clock(ARGV[1])
local latest_ms = math.min(tonumber(ARGV[6]) or now_ms, now_ms)
local ids = redis.call(
  'ZRANGEBYSCORE', base .. state, 0, int(latest_ms), 'LIMIT', 0, ARGV[5]
)
if #ids == 0 then
  return {0, 0, int(latest_ms)}
end

for _, id in ipairs(ids) do
  local fields = redis.pcall('HMGET', base .. id, 'parentKey')
  if not fields.err then
    forget_end(base, id, state)
    reattach(base, id, state, fields[1])
  end
  emit_trimmed(base, 'waiting', 'jobId', id, 'prev', state)
end
redis.call('ZREM', base .. state, unpack(ids))
redis.call('LPUSH', base .. 'wait', unpack(ids))
base_mark(base)
local left = redis.call('ZCOUNT', base .. state, 0, int(latest_ms))
return remember_reply(base, ARGV[2], ARGV[3], {#ids, left, int(latest_ms)})
