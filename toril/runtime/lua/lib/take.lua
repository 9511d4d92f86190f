-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/shape.lua
-- One job's way from the runnable ones into `active`: its limits, where it stands, its lock.

-- Errors out before the first write where the claim would stumble, or the end of every job.
local function check_claim(base)
  check_shape(
    base, 'wait', 'active', 'prioritized', 'delayed', 'marker', 'events', 'pc', 'meta', 'stalled',
    'completed', 'failed'
  )
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

-- Milliseconds until the queue is held no more, see hold.lua.
local function hold_ttl_ms(base)
  return math.max(0, redis.call('PTTL', base .. 'toril:hold'))
end

-- Milliseconds until the bucket holds a token, 0 when it does or there is none.
local function bucket_ttl_ms(bucket)
  if not bucket or bucket.level >= bucket.per_us then
    return 0
  end
  return math.ceil((bucket.per_us - bucket.level) / bucket.tokens / 1000)
end

-- One claim; true when there is a bucket that has to be written.
local function bucket_spend(bucket)
  if bucket then
    bucket.level = bucket.level - bucket.per_us
  end
  return bucket ~= nil
end

-- The next id and the key it stands in; jobs without a priority come first.
local function next_id(base)
  local id = redis.call('LINDEX', base .. 'wait', -1)
  if id then
    return id, 'wait'
  end
  return redis.call('ZRANGE', base .. 'prioritized', 0, 0)[1], 'prioritized'
end

local function remove_next(base, id, source)
  if source == 'wait' then
    redis.call('RPOP', base .. 'wait')
  else
    redis.call('ZREM', base .. 'prioritized', id)
  end
end

local function take(base, id, source)
  remove_next(base, id, source)
  redis.call('LPUSH', base .. 'active', id)
end

local function prepare(base, job, token, lock_ms, worker, now_ms)
  redis.call('SET', job.key .. ':lock', token, 'PX', lock_ms)
  emit(base, 'active', 'jobId', job.id, 'prev', 'waiting')
  job.processedOn = int(now_ms)
  job.ats = int(count_of(job.ats) + 1)
  local by = worker ~= '' and {'pb', worker} or {}
  redis.call('HSET', job.key, 'processedOn', job.processedOn, 'ats', job.ats, unpack(by))
end
