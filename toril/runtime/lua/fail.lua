#!lua flags=allow-oom
-- Ends a job for good without a result. BullMQ layout: move to finished, failed.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, reason, stack or '', stack_limit or '', attempts,
--          keep_count, keep_age_s or '', keep_limit, counts_as ('attempt' | 'crash'),
--          metrics_size, verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone'; only 'done' changes anything
-- Events   of the job that follows by deduplication: added, waiting or delayed; of a parent that is
--          released: waiting or delayed; failed, retries-exhausted (attempts made reach attempts),
--          drained
--
-- include lib/clock.lua
-- include lib/trace.lua
-- include lib/finish.lua
local base, id, token, metrics_size = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[13])
local now_ms = clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
end
local bonds = bonds_of(base, id)
check_finish(base, 'failed', bonds)

leave_verdict(base, id, token, now_ms, 14)
leave_failure(base, id, ARGV[5], ARGV[6], ARGV[7])
leave_active(base, id)
trim_events(base)
release_dedup(base, id, bonds.dedup_id, now_ms)
child_failed(bonds.parent, base .. id, ARGV[5], now_ms)
-- A crash is no attempt: the last one fails the job, and still costs none.
local is_crash = ARGV[12] == 'crash'
local made = count_up(base, id, is_crash and 't:crashes' or 'atm')
local keep = {count = ARGV[9], age_s = ARGV[10], limit = ARGV[11]}
keep_or_drop(base, id, now_ms, 'failed', 'failedReason', ARGV[5], keep, 'active')
if not is_crash and made >= tonumber(ARGV[8]) then
  emit(base, 'retries-exhausted', 'jobId', id, 'attemptsMade', int(made))
end
count_metrics(base, 'failed', now_ms, metrics_size, 1)
emit_drained(base)
return 'done'
