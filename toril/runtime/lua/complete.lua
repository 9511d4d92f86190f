#!lua flags=allow-oom
-- Ends jobs whose processors returned, each for itself. BullMQ layout: move to finished, completed.
--
-- KEYS[1]  base
-- ARGV     now_ms, keep_count, keep_age_s or '', keep_limit, metrics_size, verdict, then of each job
--          id, token, ats, value (JSON), detail (JSON), usage (JSON), entry of the history (JSON)
-- Returns  of each job, in this order: 'done' | 'already' | 'lost' | 'gone' | 'pending-children' |
--          'failed-children', or the error that its own keys, or the queue's, have caused.
--          Only 'done' changes anything; after the last two words the job is still ours to fail.
-- Events   of each job: of the one that follows by deduplication: added, waiting or delayed; of a
--          parent that is released: waiting or delayed; completed. After the last: drained
--
-- include lib/clock.lua
-- include lib/lazily.lua
-- include lib/shape.lua
-- include lib/drained.lua
-- include lib/batch.lua
local FIRST = 7
local TRIM_MAX = 1000
local base, now_ms = KEYS[1], clock(ARGV[1])
local keep_count, metrics_size = tonumber(ARGV[2]), tonumber(ARGV[5])

local rarely = lazily(function()
  -- include lib/finish.lua
  return {
    open_children = open_children, parent_of = parent_of, check_bonds = check_bonds,
    release_dedup = release_dedup, child_completed = child_completed, drop = drop_ended,
    trim_finished = trim_finished, count_metrics = count_metrics,
  }
end)

-- `sizes`: lengths of the queue's keys, once they are known to have the right types.
local jobs, ended, ids, sizes = told_ends(base, FIRST), {}, {}, nil
local locks, has_family = locks_of(jobs), any_children(jobs)

-- Why a job cannot complete, or nil; then it has left `active`, and is to be written.
local function refusal(job, lock)
  local state = look_at(base, job, lock)
  if state ~= 'ours' then
    return state
  end
  local open = has_family and rarely().open_children(job.key)
  if open then
    return redis.call('LPOS', base .. 'active', job.id) and open or 'lost'
  end
  sizes = sizes or check_shape(
    base, 'active', 'stalled', 'events', 'meta', 'wait', 'prioritized', 'marker', 'completed'
  )
  if job.is_bound then
    job.parent = rarely().parent_of(job.parent_key, job.parent)
    rarely().check_bonds(base, job.parent, job.dedup_id)
  end
  return redis.call('LREM', base .. 'active', -1, job.id) == 0 and 'lost' or nil
end

local function complete(job)
  ended[#ended + 1], ids[#ids + 1] = job, job.id
  if #ended == 1 then
    trim_events(base)
  end
  if keep_count ~= 0 then
    store_end(job, ARGV[6], 'returnvalue', now_ms)
  end
  if job.is_bound then
    rarely().release_dedup(base, job.id, job.dedup_id, now_ms)
    rarely().child_completed(job.parent, job.key, job.value, now_ms)
    -- Either may have put jobs into the queue, or children under one that ends next: look again.
    sizes, has_family = nil, true
  end
  if keep_count == 0 then
    rarely().drop(base, job.id, job.parent_key)
  end
  emit(base, 'completed', 'jobId', job.id, 'returnvalue', job.value, 'prev', 'active')
end

local answers = {}
for i, job in ipairs(jobs) do
  answers[i] = isolated(refusal, complete, job, locks[i])
end
if #ended == 0 then
  return answers
end

free_all(base, ended, ids, sizes and sizes.stalled == 0)
if keep_count ~= 0 then
  list_all(base, 'completed', now_ms, ids)
end
if keep_count > 0 or ARGV[3] ~= '' then
  -- As much as each job for itself would remove.
  local limit = tonumber(ARGV[4])
  limit = math.max(limit, math.min(limit * #ended, TRIM_MAX))
  rarely().trim_finished(base, 'completed', now_ms, keep_count, ARGV[3], int(limit))
end
if metrics_size > 0 then
  rarely().count_metrics(base, 'completed', now_ms, metrics_size, #ended)
end
if not sizes or sizes.wait == 0 and sizes.prioritized == 0 then
  emit_drained(base)
end
return answers
