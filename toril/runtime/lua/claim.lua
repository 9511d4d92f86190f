#!lua flags=allow-oom
-- Takes up to one runnable job per token and locks it. BullMQ layout: move to active, for k jobs.
-- KEYS[1]  base
-- ARGV     now_ms, lock_ms, worker name or '', max_data_bytes, max_opts_bytes,
--          configured limit: tokens, per_us, burst, revision (four times '' for none),
--          id of a job and slot_ms of the one that follows it by a cron pattern, how many can run
--          at once (all that is taken of a concurrency that workers share), tokens...
-- Returns  {stopped, limit_ttl_ms, next_delayed_ms, ghosts, due_id, due_opts, {job...}, now_ms}
--          stopped: 'full' (a job for every token, or as much as one call reads) | 'empty' | 'gated' (paused, or as many active
--          as allowed) | 'limited' | 'due' (ask again with the slot that follows the job due_id)
--          | 'steps' (too many ghosts for one call: ask again)
--          job: see lib/jobs.lua; the first has the first token, and so on
-- Events   waiting (promoted), active; of a schedule's next job: added, waiting or delayed
--
-- include lib/clock.lua
-- include lib/number.lua
-- include lib/lazily.lua
-- include lib/shape.lua
-- include lib/bucket.lua
-- include lib/jobs.lua
-- include lib/take.lua
local GHOSTS_MAX = 100
local FIRST_TOKEN = 13

local rarely = lazily(function()
  -- include lib/promote.lua
  -- include lib/dedup.lua
  -- include lib/schedule.lua
  return {promote = promote, opts_of = decoded_opts, plan = plan_next, add = add_planned}
end)

local base = KEYS[1]
local now_ms, now_us = clock(ARGV[1])
local want = #ARGV - FIRST_TOKEN + 1
local max_bytes = {data = tonumber(ARGV[4]), opts = tonumber(ARGV[5])}
local start = {now = int(now_ms), lock_ms = ARGV[2], worker = ARGV[3]}

local sizes = check_claim(base)
local gate = read_gate(base, sizes.active, tonumber(ARGV[12]))
local bucket, is_new = bucket_configured(bucket_read(base, now_us), bucket_from_args(ARGV, 6))

local first = sizes.delayed > 0 and first_delayed(base)
if first and first < (now_ms + 1) * SCORE_PER_MS then
  rarely().promote(base, now_ms)
  first = first_delayed(base)
end

local function plan_of(job)
  return rarely().plan(base, job, rarely().opts_of(job.opts), now_ms, ARGV[10], ARGV[11])
end

local jobs, ghosts, read_bytes, stopped, limit_ttl_ms, due = {}, 0, 0, nil, 0, {'', ''}
local ids, source = {}, nil
while #jobs < want and read_bytes < READ_MAX_BYTES do
  stopped, limit_ttl_ms = what_stops(base, gate, bucket, #jobs)
  if stopped or ghosts == GHOSTS_MAX then
    break
  elseif #ids == 0 then
    ids, source = next_ids(base, want - #jobs)
  end
  local id = table.remove(ids)
  if not id then
    redis.call('DEL', base .. 'pc')
    stopped = 'empty'
    break
  end
  local job = read_job(base, id, max_bytes)
  local planned = job and job.rjk and plan_of(job) or nil
  if planned == 'ask' then
    stopped, due = 'due', {id, job.opts or ''}
    break
  elseif not job then
    remove_next(base, id, source)
    ghosts = ghosts + 1
  else
    take(base, id, source)
    if job.is_to_run then
      count_in_window(base, gate)
      is_new = bucket_spend(bucket) or is_new
    end
    start_job(base, job, ARGV[FIRST_TOKEN + #jobs], start)
    if planned then
      rarely().add(base, planned)
      -- It may wait in front of those that were looked up; or be the first of the delayed ones.
      ids, first = {}, first_delayed(base)
    end
    jobs[#jobs + 1] = job.reply
    read_bytes = read_bytes + job.data_bytes
  end
end

if is_new then
  bucket_write(base, bucket, now_us)
end
if #jobs > 0 then
  redis.call('ZADD', base .. 'marker', 0, '0')
end
local next_delayed_ms = first and count_of(first / SCORE_PER_MS) or 0
stopped = stopped or ghosts == GHOSTS_MAX and 'steps' or 'full'
return {stopped, limit_ttl_ms, next_delayed_ms, ghosts, due[1], due[2], jobs, start.now}
