-- include lib/clock.lua
-- include lib/number.lua
-- include lib/shape.lua
-- BullMQ's metrics: how many jobs ended in each minute. Hash metrics:<set> {count, prevTS,
-- prevCount}, list metrics:<set>:data with the newest minute first, at most `size` of them.

local MINUTE_MS = 60000
local ZEROS_PER_PUSH = 1000

local function push_zeros(key, count)
  while count > 0 do
    local zeros = {}
    for i = 1, math.min(count, ZEROS_PER_PUSH) do
      zeros[i] = 0
    end
    redis.call('LPUSH', key, unpack(zeros))
    count = count - #zeros
  end
end

-- So many jobs more in `set` ('completed' or 'failed'); nothing for size 0. A minute without jobs is
-- pushed with the next job that ends, as BullMQ does it: the zeros stand before the minute's count.
-- Keys that somebody has taken count nothing: a count is worth no job.
local function count_metrics(base, set, now_ms, size, jobs)
  if size == 0 or misshapen(base, 'metrics:' .. set, 'metrics:' .. set .. ':data') then
    return
  end
  local key = base .. 'metrics:' .. set
  local fields = redis.call('HMGET', key, 'count', 'prevTS', 'prevCount')
  local count = count_of(fields[1])
  redis.call('HSET', key, 'count', int(count + jobs))
  local last_ms = count_of(fields[2])
  if last_ms == 0 then
    redis.call('HSET', key, 'prevTS', int(now_ms), 'prevCount', 0)
    return
  end
  local minutes = math.floor(now_ms / MINUTE_MS) - math.floor(last_ms / MINUTE_MS)
  minutes = math.min(minutes, size)
  if minutes > 0 then
    redis.call('LPUSH', key .. ':data', int(count - count_of(fields[3])))
    push_zeros(key .. ':data', minutes - 1)
    redis.call('LTRIM', key .. ':data', 0, size - 1)
    redis.call('HSET', key, 'prevTS', int(now_ms), 'prevCount', int(count))
  end
end
