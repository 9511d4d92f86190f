-- The state of a job, looked for where BullMQ looks and in its order.

local STATE_SETS = {'completed', 'failed', 'delayed', 'prioritized'}
local STATE_LISTS = {{'active', 'active'}, {'wait', 'waiting'}, {'paused', 'waiting'}}

local function state_of(base, id)
  if redis.call('EXISTS', base .. id) == 0 then
    return 'gone'
  end
  for _, name in ipairs(STATE_SETS) do
    if redis.call('ZSCORE', base .. name, id) then
      return name
    end
  end
  for _, pair in ipairs(STATE_LISTS) do
    if redis.call('LPOS', base .. pair[1], id) then
      return pair[2]
    end
  end
  if redis.call('ZSCORE', base .. 'waiting-children', id) then
    return 'waiting-children'
  end
  return 'unknown'
end

-- As `state_of`, but a job that stands in the set `wanted` too is in it: an iteration that ended
-- early, and was scheduled again, stands in two.
local function state_towards(base, id, wanted)
  if redis.call('EXISTS', base .. id) == 1 and redis.call('ZSCORE', base .. wanted, id) then
    return wanted
  end
  return state_of(base, id)
end
