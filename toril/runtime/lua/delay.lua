#!lua flags=allow-oom
-- Puts an active job among the delayed ones, as its processor asked, without costing an attempt.
-- BullMQ layout: move an active job to delayed, by hand.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, delay_ms,
--          verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   delayed
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
check_settlement(base, 'delayed')

leave_verdict(base, id, token, now_ms, 6)
leave_active(base, id)
delay_job(base, id, now_ms, unless_cancelled(base, id, tonumber(ARGV[5])))
return 'done'
