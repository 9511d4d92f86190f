-- include lib/clock.lua
-- include lib/number.lua
-- include lib/history.lua
-- include lib/own.lua
-- include lib/shape.lua
-- What every settlement has in common: out of `active`, lock gone, verdict on the job.

-- Errors out before the first write where a key that the settlement will write has another type.
local function check_settlement(base, ...)
  check_shape(base, 'active', 'stalled', 'events', 'meta', 'wait', 'prioritized', 'marker', ...)
end

-- A counter of the job's hash, 0 where it is missing or none.
local function counter(base, id, field)
  return count_of(redis.call('HGET', base .. id, field))
end

-- HINCRBY that cannot fail half-way on a field that is no integer; returns the new value.
local function count_up(base, id, field)
  local value = counter(base, id, field) + 1
  redis.call('HSET', base .. id, field, int(value))
  return value
end

local function leave_active(base, id)
  redis.call('DEL', base .. id .. ':lock')
  redis.call('SREM', base .. 'stalled', id)
  redis.call('LREM', base .. 'active', -1, id)
end

-- Our own fields, from ARGV `first` on: verdict, detail, usage, entry of the history. t:settled
-- makes a repeated settlement harmless; what a job said (t:said) is no more to be compared.
local function leave_verdict(base, id, token, now_ms, first)
  local before = redis.call('HMGET', base .. id, 't:history', 'processedOn')
  redis.call(
    'HSET', base .. id, 't:settled', token, 't:verdict', ARGV[first], 't:detail', ARGV[first + 1],
    't:usage', ARGV[first + 2],
    't:history', history_with(before[1], before[2], now_ms, ARGV[first + 3])
  )
  redis.call('HDEL', base .. id, 't:said')
end

-- A job that was cancelled meanwhile waits for nothing: the next claim ends it.
local function is_cancelled(base, id)
  return redis.call('HEXISTS', base .. id, 't:cancel') == 1
end

local function unless_cancelled(base, id, delay_ms)
  return is_cancelled(base, id) and 0 or delay_ms
end
