#!lua flags=allow-oom
-- Gives a job another priority, and another place if it waits to run.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id, priority,
--          'lifo' (before those of its priority) or ''
-- Returns  'done' | 'gone'; only 'done' changes anything
-- Events   none
-- BullMQ layout: change priority
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/enqueue.lua
local base, id, priority, is_lifo = KEYS[1], ARGV[4], tonumber(ARGV[5]), ARGV[6] == 'lifo'

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
if redis.call('HLEN', base .. id) == 0 then
  return 'gone'
end
check_shape(base, 'wait', 'prioritized', 'marker', 'events', 'meta', 'pc')

local was_waiting = redis.call('ZREM', base .. 'prioritized', id) == 1
  or redis.call('LREM', base .. 'wait', -1, id) == 1
if was_waiting and priority > 0 then
  if is_lifo then
    push_prio_front(base, priority, id)
  else
    push_prio(base, priority, id)
  end
elseif was_waiting and is_lifo then
  push_tail(base, id)
elseif was_waiting then
  push_head(base, id)
end
redis.call('HSET', base .. id, 'priority', int(priority))
return remember_reply(base, ARGV[2], ARGV[3], 'done')
