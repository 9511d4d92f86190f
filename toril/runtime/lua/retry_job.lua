#!lua flags=allow-oom
-- Has a finished job run again. Its counters stay unless they are to be reset.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id, state ('failed' | 'completed'),
--          'made' (attempts made and crashes begin anew) or '',
--          'started' (attempts started begin anew) or ''
-- Returns  'done' | the state it is in instead, or 'gone'; only 'done' changes anything
-- Events   waiting
-- BullMQ layout: retry of a finished job
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/number.lua
-- include lib/state.lua
-- include lib/enqueue.lua
-- include lib/reprocess.lua
local base, id, wanted = KEYS[1], ARGV[4], ARGV[5]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(
  base, 'completed', 'failed', 'wait', 'prioritized', 'marker', 'events', 'meta', 'pc', 'delayed'
)
local state = state_towards(base, id, wanted)
if state ~= wanted then
  return state
end
local job = redis.call('HMGET', base .. id, 'priority', 'opts', 'parentKey')
local priority = number_of(job[1]) or 0
local ok, opts = pcall(cjson.decode, job[2] or '')
local is_lifo = ok and type(opts) == 'table' and opts.lifo == true

redis.call('ZREM', base .. state, id)
forget_end(base, id, state)
if ARGV[6] == 'made' then
  redis.call('HDEL', base .. id, 'atm', 't:crashes')
end
if ARGV[7] == 'started' then
  redis.call('HDEL', base .. id, 'ats')
end
if priority ~= 0 then
  push_prio(base, priority, id)
elseif is_lifo then
  push_tail(base, id)
else
  push_head(base, id)
end
reattach(base, id, state, job[3])
emit_trimmed(base, 'waiting', 'jobId', id, 'prev', state)
return remember_reply(base, ARGV[2], ARGV[3], 'done')
