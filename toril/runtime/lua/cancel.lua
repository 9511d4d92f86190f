#!lua flags=allow-oom
-- Cancels a job: one that does not run fails at once; one that runs is marked, and its worker told.
-- The mark stays until the job's end, so that a worker that misses the message learns of it by its
-- renewals, and a later attempt does not run.
--
-- KEYS[1]  base
-- ARGV     now_ms, id
-- Returns  'cancelled' (it has failed: now, or as cancelled before) | 'asked' (it runs) |
--          'finished' | 'refused' (it waits for children, carries a schedule on, or is in no list) |
--          'gone'; the last three change nothing
-- Events   as of fail.lua, with the state it was in as `prev`; no retries-exhausted, no drained
-- Message  on channel `toril:ask`: {"do":"cancel","id":…}
-- BullMQ layout: move to finished, failed; no metrics, and no drained event
--
-- include lib/clock.lua
-- include lib/state.lua
-- include lib/finish.lua
local base, id = KEYS[1], ARGV[2]
local now_ms = clock(ARGV[1])
local WAITING = {waiting = true, prioritized = true, delayed = true}

local state = state_of(base, id)
if state == 'gone' then
  return 'gone'
end
local bonds = bonds_of(base, id)
check_finish(base, 'failed', bonds)
check_shape(base, 'paused', 'delayed')
local job = redis.call('HMGET', base .. id, 'rjk', 'opts', 't:cancel', 't:verdict')

if state == 'active' then
  if not job[3] then
    redis.call('HSET', base .. id, 't:cancel', int(now_ms))
  end
  -- Whoever may not publish here has cancelled all the same.
  redis.pcall('PUBLISH', base .. 'toril:ask', cjson.encode({['do'] = 'cancel', id = id}))
  return 'asked'
elseif state == 'completed' or state == 'failed' then
  return state == 'failed' and job[4] == 'cancelled' and 'cancelled' or 'finished'
elseif is_current_iteration(base, id, job[1] or nil) or not WAITING[state] then
  return 'refused'
end

redis.call('LREM', base .. 'wait', -1, id)
redis.call('LREM', base .. 'paused', -1, id)
redis.call('ZREM', base .. 'prioritized', id)
redis.call('ZREM', base .. 'delayed', id)
trim_events(base)
release_dedup(base, id, bonds.dedup_id, now_ms)
child_failed(bonds.parent, base .. id, 'cancelled', now_ms)
redis.call('HSET', base .. id, 't:verdict', 'cancelled', 't:detail', '{"stage":"waiting"}')
local keep = keep_rule(job[2], 'removeOnFail')
keep_or_drop(base, id, now_ms, 'failed', 'failedReason', 'cancelled', keep, state)
return 'cancelled'
