-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/marker.lua
-- Ways into the runnable and the delayed jobs. The tail of `wait` is consumed first.

local PRIORITY_STEP = 4294967296

-- Runs after everything that waits.
local function push_head(base, id)
  redis.call('LPUSH', base .. 'wait', id)
  base_mark(base)
end

-- Runs next.
local function push_tail(base, id)
  redis.call('RPUSH', base .. 'wait', id)
  base_mark(base)
end

-- Behind the jobs of the same priority; no marker.
local function put_prioritized(base, priority, id)
  local order = redis.call('INCR', base .. 'pc') % PRIORITY_STEP
  redis.call('ZADD', base .. 'prioritized', priority * PRIORITY_STEP + order, id)
end

local function push_prio(base, priority, id)
  put_prioritized(base, priority, id)
  base_mark(base)
end

-- In front of the jobs of the same priority. BullMQ leaves the marker out here, so that an idle
-- worker finds the job at its next poll only; one marker more does no harm.
local function push_prio_front(base, priority, id)
  redis.call('ZADD', base .. 'prioritized', priority * PRIORITY_STEP, id)
  base_mark(base)
end

-- Score for "run at at_ms": keeps the order of jobs due in the same millisecond.
local function delayed_score(base, at_ms)
  local low = at_ms * SCORE_PER_MS
  local high = low + SCORE_PER_MS - 1
  local last = redis.call(
    'ZREVRANGEBYSCORE', base .. 'delayed', int(high), int(low), 'WITHSCORES', 'LIMIT', 0, 1
  )
  if not last[2] then
    return low
  end
  return math.min(tonumber(last[2]) + 1, high)
end

-- An active job's way back: to be run again after delay_ms.
local function delay_job(base, id, now_ms, delay_ms)
  local at_ms = now_ms + delay_ms
  redis.call('HSET', base .. id, 'delay', int(delay_ms))
  redis.call('ZADD', base .. 'delayed', int(delayed_score(base, at_ms)), id)
  emit_trimmed(base, 'delayed', 'jobId', id, 'delay', int(at_ms))
  delay_mark(base)
end

-- An active job's way back: to the front, or in front of those of its priority.
local function push_back(base, id)
  local priority = number_of(redis.call('HGET', base .. id, 'priority')) or 0
  if priority == 0 then
    push_tail(base, id)
  else
    push_prio_front(base, priority, id)
  end
  emit_trimmed(base, 'waiting', 'jobId', id, 'prev', 'active')
end
