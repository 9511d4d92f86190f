#!lua flags=allow-oom
-- Recovers jobs whose worker went away: suspected at an earlier sweep and without a lock now.
-- BullMQ layout: move stalled jobs to wait. One sweep per interval over all workers of a queue.
-- Its loops are as long as `active` is, which the workers' concurrency bounds.
--
-- KEYS[1]  base
-- ARGV     now_ms, max_stalled, interval_ms, ids that the caller holds and will renew...
-- Returns  {id...} recovered; empty too when another worker swept within the interval
-- Events   waiting and stalled of each
--
-- include lib/clock.lua
-- include lib/shape.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/stalled.lua
local FIRST_HELD = 4

local base = KEYS[1]
local now_ms = clock(ARGV[1])
-- One without an end would be the last sweep ever; whoever wrote it was no sweep.
if redis.call('PTTL', base .. 'stalled-check') >= 0 then
  return {}
end
check_shape(base, 'stalled', 'active', 'wait', 'marker', 'events', 'meta')

redis.call('SET', base .. 'stalled-check', int(now_ms), 'PX', ARGV[3])
trim_events(base)
local suspects = redis.call('SMEMBERS', base .. 'stalled')
redis.call('DEL', base .. 'stalled')
local recovered, is_held = {}, {}
for i = FIRST_HELD, #ARGV do
  is_held[ARGV[i]] = true
end
for _, id in ipairs(suspects) do
  if not is_held[id] and recover(base, id, now_ms, tonumber(ARGV[2])) then
    recovered[#recovered + 1] = id
  end
end
suspect_active(base)
return recovered
