-- include lib/clock.lua
-- include lib/events.lua
-- A finished job's way back. Its `stacktrace` and its counters stay.

local VALUE_OF = {completed = 'returnvalue', failed = 'failedReason'}

-- A child is again one that its parent has to wait for; the parent itself stays where it is.
local function reattach(base, id, state, parent_key)
  if not parent_key or redis.call('EXISTS', parent_key) == 0 then
    return
  end
  local job_key, was_settled = base .. id, false
  if state == 'completed' then
    was_settled = redis.pcall('HDEL', parent_key .. ':processed', job_key) == 1
  else
    was_settled = redis.pcall('ZREM', parent_key .. ':unsuccessful', job_key) == 1
      or redis.pcall('HDEL', parent_key .. ':failed', job_key) == 1
  end
  if was_settled then
    redis.pcall('SADD', parent_key .. ':dependencies', job_key)
  end
end

-- Takes the end off the job's hash.
local function forget_end(base, id, state)
  redis.call('HDEL', base .. id, 'finishedOn', 'processedOn', VALUE_OF[state])
end
