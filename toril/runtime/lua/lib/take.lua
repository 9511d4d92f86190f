-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/shape.lua
-- include lib/marker.lua
-- include lib/jobs.lua
-- One job's way from the runnable ones into `active`: its limits, where it stands, its lock.

-- Errors out before the first write where the claim would stumble, or the end of every job.
local function check_claim(base)
  return check_shape(
    base, 'wait', 'active', 'prioritized', 'delayed', 'marker', 'events', 'pc', 'meta', 'stalled',
    'completed', 'failed'
  )
end

-- What bounds the claims of a queue: how many more jobs may be active (0 while it is paused), how long
-- it is held (see hold.lua), and BullMQ's limit, at most `max` claims in each window of `duration_ms`.
-- `active`: how many are; `free`: how many jobs of this claim can run at once. Of a concurrency that
-- all workers share nobody takes what only stands in line.
local function read_gate(base, active, free)
  local meta = redis.call('HMGET', base .. 'meta', 'paused', 'concurrency', 'max', 'duration')
  local shared = number_of(meta[2])
  return {
    room = meta[1] and 0 or shared and math.min(shared - active, free) or math.huge,
    max = number_of(meta[3]), duration_ms = number_of(meta[4]),
    held_ms = math.max(0, redis.call('PTTL', base .. 'toril:hold')),
  }
end

-- What passed in the window under way; nothing where somebody has left no number.
local function passed_in_window(base)
  local value = redis.pcall('GET', base .. 'limiter')
  return type(value) == 'string' and count_of(value) or 0
end

-- Milliseconds until BullMQ's rate limit lets a job pass, 0 when it does. A limiter that never
-- expires does not block; one in its last millisecond (its PTTL is 0) still does, or what passed
-- then would count in no window.
local function window_ttl_ms(base, window)
  if not window.max or passed_in_window(base) < window.max then
    return 0
  end
  local ttl_ms = redis.call('PTTL', base .. 'limiter')
  return ttl_ms < 0 and 0 or math.max(ttl_ms, 1)
end

-- A `max` without a duration has no window to count in (BullMQ's own fetch stumbles there and
-- leaves the job half fetched); such a queue runs unlimited.
local function count_in_window(base, window)
  if not (window.max and window.duration_ms) then
    return
  end
  local key, passed = base .. 'limiter', redis.pcall('INCR', base .. 'limiter')
  if type(passed) == 'table' then
    redis.call('SET', key, 1)
    passed = 1
  end
  if passed == 1 then
    redis.call('PEXPIRE', key, int(math.floor(math.abs(window.duration_ms))))
  end
end

-- Milliseconds until the bucket holds a token, 0 when it does or there is none.
local function bucket_ttl_ms(bucket)
  if not bucket or bucket.level >= bucket.per_us then
    return 0
  end
  return math.ceil((bucket.per_us - bucket.level) / bucket.tokens / 1000)
end

-- 'limited' and for how many milliseconds, 'gated', or nil where one more job may be claimed.
local function what_stops(base, gate, bucket, taken)
  local ttl_ms = math.max(gate.held_ms, window_ttl_ms(base, gate), bucket_ttl_ms(bucket))
  if ttl_ms > 0 then
    return 'limited', ttl_ms
  end
  return taken >= gate.room and 'gated' or nil, 0
end

-- One claim; true when there is a bucket that has to be written.
local function bucket_spend(bucket)
  if bucket then
    bucket.level = bucket.level - bucket.per_us
  end
  return bucket ~= nil
end

-- The next ids, the last of them first, and the key that they stand in; jobs without a priority come
-- first.
local function next_ids(base, count)
  local ids = redis.call('LRANGE', base .. 'wait', -count, -1)
  if #ids > 0 then
    return ids, 'wait'
  end
  return redis.call('ZREVRANGE', base .. 'prioritized', -count, -1), 'prioritized'
end

-- The score of the delayed job that is due first; nil where none is delayed.
local function first_delayed(base)
  return tonumber(redis.call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')[2])
end

local function remove_next(base, id, source)
  if source == 'wait' then
    redis.call('RPOP', base .. 'wait')
  else
    redis.call('ZREM', base .. 'prioritized', id)
  end
end

local function take(base, id, source)
  if source == 'wait' then
    redis.call('LMOVE', base .. 'wait', base .. 'active', 'RIGHT', 'LEFT')
  else
    redis.call('ZREM', base .. 'prioritized', id)
    redis.call('LPUSH', base .. 'active', id)
  end
end

-- `start`: {now, lock_ms, worker}. The job as it is answered says the same as its hash.
local function start_job(base, job, token, start)
  redis.call('SET', job.key .. ':lock', token, 'PX', start.lock_ms)
  emit(base, 'active', 'jobId', job.id, 'prev', 'waiting')
  local ats = int(count_of(job.reply[ATS]) + 1)
  job.reply[ATS], job.reply[PROCESSED_ON] = ats, start.now
  if start.worker == '' then
    redis.call('HSET', job.key, 'processedOn', start.now, 'ats', ats)
  else
    redis.call('HSET', job.key, 'processedOn', start.now, 'ats', ats, 'pb', start.worker)
  end
end
