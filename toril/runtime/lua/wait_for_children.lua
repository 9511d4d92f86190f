#!lua flags=allow-oom
-- Puts an active job among those that wait for children, as its processor asked, without costing an
-- attempt. One whose children have all ended meanwhile is released at once, and runs next; so is one
-- that was cancelled.
-- BullMQ layout: move an active job to waiting-children.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats,
--          verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone' | 'failed-children' | 'no-children' (it never had
--          any); only 'done' changes anything; after the last two the job is still ours to fail
-- Events   waiting-children; of one that is released: waiting or delayed
--
-- include lib/clock.lua
-- include lib/settle.lua
-- include lib/flow.lua
local base, id, token = KEYS[1], ARGV[2], ARGV[3]
local job_key, now_ms = base .. id, clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
check_settlement(base, 'waiting-children', 'delayed', 'pc')
children_count(job_key, ':dependencies', 'SCARD')
if children_count(job_key, ':unsuccessful', 'ZCARD') > 0 then
  return 'failed-children'
elseif redis.call('SCARD', job_key .. ':dependencies') == 0
  and redis.call('EXISTS', job_key .. ':processed', job_key .. ':failed') == 0
  and redis.call('HEXISTS', job_key, 't:family') == 0 then
  return 'no-children'
end

leave_verdict(base, id, token, now_ms, 5)
leave_active(base, id)
redis.call('ZADD', base .. 'waiting-children', int(now_ms), id)
emit(base, 'waiting-children', 'jobId', id, 'prev', 'active')
local parent = {key = job_key, base = base, id = id}
if is_cancelled(base, id) and leave_waiting_children(parent) then
  release_parent(parent, now_ms)
else
  release_if_done(parent, now_ms)
end
return 'done'
