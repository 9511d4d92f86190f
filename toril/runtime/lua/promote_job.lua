#!lua flags=allow-oom
-- Makes a delayed job runnable now.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id
-- Returns  'done' | the state it is in instead, or 'gone'; only 'done' changes anything
-- Events   waiting
-- BullMQ layout: promote
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/number.lua
-- include lib/state.lua
-- include lib/enqueue.lua
local base, id = KEYS[1], ARGV[4]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'delayed', 'wait', 'prioritized', 'marker', 'events', 'meta', 'pc')
local state = state_towards(base, id, 'delayed')
if state ~= 'delayed' then
  return state
end
local priority = number_of(redis.call('HGET', base .. id, 'priority')) or 0

redis.call('ZREM', base .. 'delayed', id)
if priority == 0 then
  push_head(base, id)
else
  push_prio(base, priority, id)
end
redis.call('HSET', base .. id, 'delay', 0)
emit(base, 'waiting', 'jobId', id, 'prev', 'delayed')
return remember_reply(base, ARGV[2], ARGV[3], 'done')
