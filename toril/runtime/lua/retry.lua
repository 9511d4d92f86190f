#!lua flags=allow-oom
-- Ends an attempt that will be tried again: at once (delay 0) or after a delay.
-- BullMQ layout: retry job, and move to delayed.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, delay_ms, counts_as ('attempt' | 'crash' |
--          'interruption'), lifo
--          ('1' | ''), reason, stack or '', stack_limit or '', verdict, detail (JSON), usage (JSON),
--          entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   at once: waiting (of promoted jobs, then of this one); after a delay: delayed
--
-- include lib/clock.lua
-- include lib/trace.lua
-- include lib/settle.lua
-- include lib/promote.lua
local COUNTER_OF = {attempt = 'atm', crash = 't:crashes', interruption = 't:interruptions'}
local base, id, token, delay_ms = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[5])
local now_ms = clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
check_settlement(base, 'delayed', 'pc')
delay_ms = unless_cancelled(base, id, delay_ms)

if delay_ms == 0 then
  promote(base, now_ms)
end
leave_verdict(base, id, token, now_ms, 11)
leave_failure(base, id, ARGV[8], ARGV[9], ARGV[10])
leave_active(base, id)
count_up(base, id, COUNTER_OF[ARGV[6]])

if delay_ms > 0 then
  delay_job(base, id, now_ms, delay_ms)
  return 'done'
end

local priority = counter(base, id, 'priority')
if priority ~= 0 then
  push_prio(base, priority, id)
elseif ARGV[7] == '1' then
  push_tail(base, id)
else
  push_head(base, id)
end
emit_trimmed(base, 'waiting', 'jobId', id, 'prev', 'active')
return 'done'
