-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- Due delayed jobs become runnable, at most PROMOTE_MAX per call; returns how many did.
-- A job whose hash is missing or no hash moves on too: the claim removes it as a ghost.

local PROMOTE_MAX = 1000

local function promote(base, now_ms)
  local due = redis.call(
    'ZRANGEBYSCORE', base .. 'delayed', '-inf', int((now_ms + 1) * SCORE_PER_MS - 1),
    'LIMIT', 0, PROMOTE_MAX
  )
  if #due == 0 then
    return 0
  end
  redis.call('ZREM', base .. 'delayed', unpack(due))
  for _, id in ipairs(due) do
    local fields = redis.pcall('HMGET', base .. id, 'priority', 'delay')
    local priority = number_of(fields[1]) or 0
    if priority == 0 then
      redis.call('LPUSH', base .. 'wait', id)
    else
      put_prioritized(base, priority, id)
    end
    emit(base, 'waiting', 'jobId', id, 'prev', 'delayed')
    if fields[2] then
      redis.call('HSET', base .. id, 'delay', 0)
    end
  end
  base_mark(base)
  return #due
end
