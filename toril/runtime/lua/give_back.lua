#!lua flags=allow-oom
-- Puts an active job back to the front of the queue, without costing an attempt.
-- BullMQ layout: move an active job back to wait.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), id, token, ats, counts_as ('interruption' | ''),
--          verdict, detail (JSON), usage (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   waiting
--
-- include lib/clock.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/settle.lua
local base, id, token = KEYS[1], ARGV[2], ARGV[3]

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
check_settlement(base)

leave_verdict(base, id, token, ARGV[6], ARGV[7], ARGV[8])
leave_active(base, id)
if ARGV[5] == 'interruption' then
  count_up(base, id, 't:interruptions')
end
local priority = counter(base, id, 'priority')
if priority == 0 then
  push_tail(base, id)
else
  push_prio_front(base, priority, id)
end
emit_trimmed(base, 'waiting', 'jobId', id, 'prev', 'active')
return 'done'
