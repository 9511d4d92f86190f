#!lua flags=allow-oom
-- Ends a job whose processor returned. BullMQ layout: move to finished, completed.
--
-- KEYS[1]  base
-- ARGV     now_ms, id, token, ats, value (JSON), keep_count, keep_age_s or '', keep_limit,
--          metrics_size, verdict, detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  'done' | 'already' | 'lost' | 'gone' | 'pending-children' | 'failed-children'
--          Only 'done' changes anything; after the last two the job is still ours to fail.
-- Events   of the job that follows by deduplication: added, waiting or delayed; of a parent that is
--          released: waiting or delayed; completed, drained
--
-- include lib/clock.lua
-- include lib/finish.lua
local base, id, token, metrics_size = KEYS[1], ARGV[2], ARGV[3], tonumber(ARGV[9])
local now_ms = clock(ARGV[1])

local state = claim_state(base, id, token, ARGV[4])
if state ~= 'ours' then
  return state
elseif children_count(base .. id, ':dependencies', 'SCARD') > 0 then
  return 'pending-children'
elseif children_count(base .. id, ':unsuccessful', 'ZCARD') > 0 then
  return 'failed-children'
end
local bonds = bonds_of(base, id)
check_finish(base, 'completed', bonds)

leave_verdict(base, id, token, now_ms, 10)
leave_active(base, id)
trim_events(base)
release_dedup(base, id, bonds.dedup_id, now_ms)
child_completed(bonds.parent, base .. id, ARGV[5], now_ms)
count_up(base, id, 'atm')
local keep = {count = ARGV[6], age_s = ARGV[7], limit = ARGV[8]}
keep_or_drop(base, id, now_ms, 'completed', 'returnvalue', ARGV[5], keep, 'active')
count_metrics(base, 'completed', now_ms, metrics_size)
emit_drained(base)
return 'done'
