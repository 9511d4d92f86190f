#!lua flags=allow-oom
-- Puts an active job back to the front of the queue, without costing an attempt.
-- BullMQ layout: move an active job back to wait.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, counts_as ('interruption' | ''),
--          verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   waiting
--
-- include lib/clock.lua
-- include lib/enqueue.lua
-- include lib/settle.lua
local base, id, token = KEYS[1], ARGV[2], ARGV[3]
local now_ms = clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
check_settlement(base)

leave_verdict(base, id, token, now_ms, 6)
leave_active(base, id)
if ARGV[5] == 'interruption' then
  count_up(base, id, 't:interruptions')
end
push_back(base, id)
return 'done'
