#!lua flags=allow-oom
-- Takes up to one runnable job per token and locks it. BullMQ layout: move to active, for k jobs.
--
-- KEYS[1]  base
-- ARGV     now_ms, lock_ms, worker name or '', max_data_bytes, max_opts_bytes,
--          configured limit: tokens, per_us, burst, revision (four times '' for none),
--          id of a job and slot_ms of the one that follows it by a cron pattern, tokens...
-- Returns  {stopped, limit_ttl_ms, next_delayed_ms, ghosts, due_id, due_opts, {job...}, now_ms}
--          stopped: 'full' (a job for every token) | 'empty' | 'gated' (paused, or as many active
--          as allowed) | 'limited' | 'due' (ask again with the slot that follows the job due_id)
--          | 'steps' (too many ghosts for one call: ask again)
--          job: see lib/jobs.lua
-- Events   waiting (promoted), active; of a schedule's next job: added, waiting or delayed
--
-- include lib/clock.lua
-- include lib/number.lua
-- include lib/shape.lua
-- include lib/bucket.lua
-- include lib/promote.lua
-- include lib/jobs.lua
-- include lib/take.lua
-- include lib/dedup.lua
-- include lib/schedule.lua
local GHOSTS_MAX = 100
local FIRST_TOKEN = 12

local base = KEYS[1]
local now_ms, now_us = clock(ARGV[1])
local want = #ARGV - FIRST_TOKEN + 1

check_claim(base)
local max, duration_ms = unpack(redis.call('HMGET', base .. 'meta', 'max', 'duration'))
local window = {max = number_of(max), duration_ms = number_of(duration_ms)}
local bucket, is_new = bucket_configured(bucket_read(base, now_us), bucket_from_args(ARGV, 6))

promote(base, now_ms)

-- '' where they are too large to be read.
local function opts_of(job)
  return job.opts_bytes <= tonumber(ARGV[5]) and redis.call('HGET', job.key, 'opts') or ''
end

local function plan_of(job)
  return plan_next(base, job, decoded_opts(opts_of(job)), now_ms, ARGV[10], ARGV[11])
end

local held_ms = hold_ttl_ms(base)
local jobs, ghosts, stopped, limit_ttl_ms, due = {}, 0, 'full', 0, {'', ''}
while #jobs < want do
  limit_ttl_ms = math.max(held_ms, window_ttl_ms(base, window), bucket_ttl_ms(bucket))
  if limit_ttl_ms > 0 then
    stopped = 'limited'
    break
  elseif is_gated(base) then
    stopped = 'gated'
    break
  elseif ghosts == GHOSTS_MAX then
    stopped = 'steps'
    break
  end
  local id, source = next_id(base)
  if not id then
    redis.call('DEL', base .. 'pc')
    stopped = 'empty'
    break
  end
  local job = id:sub(1, 2) ~= '0:' and peek_job(base, id) or nil
  local planned = job and job.rjk and plan_of(job) or nil
  if planned == 'ask' then
    stopped, due = 'due', {id, opts_of(job)}
    break
  elseif not job then
    remove_next(base, id, source)
    ghosts = ghosts + 1
  else
    take(base, id, source)
    if not job.defa and not job['t:cancel'] then
      count_in_window(base, window)
      is_new = bucket_spend(bucket) or is_new
    end
    local token = ARGV[FIRST_TOKEN + #jobs]
    prepare(base, job, token, ARGV[2], ARGV[3], now_ms)
    if planned then
      add_planned(base, planned)
    end
    jobs[#jobs + 1] = job_reply(job, token, tonumber(ARGV[4]), tonumber(ARGV[5]))
  end
end

if is_new then
  bucket_write(base, bucket, now_us)
end
if #jobs > 0 then
  redis.call('ZADD', base .. 'marker', 0, '0')
end
local first = redis.call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
local next_delayed_ms = first[2] and count_of(tonumber(first[2]) / SCORE_PER_MS) or 0
return {stopped, limit_ttl_ms, next_delayed_ms, ghosts, due[1], due[2], jobs, int(now_ms)}
