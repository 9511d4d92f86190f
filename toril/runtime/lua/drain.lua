#!lua flags=allow-oom
-- Removes what waits, and what is delayed if asked; what is active and what has finished stays, as
-- does the job that carries a schedule on. DRAIN_MAX jobs per call; it looks at as many more as
-- there are schedulers.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), 'delayed' or ''
-- Returns  {word, jobs that stood there}; word: 'done' | 'more' (ask again)
-- Events   none, not even of a parent in another queue that is released
-- BullMQ layout: drain
--
-- include lib/shape.lua
-- include lib/remove.lua
local DRAIN_MAX = 1000

local base = KEYS[1]
check_shape(base, 'wait', 'paused', 'prioritized', 'delayed', 'marker', 'meta')
local spare = redis.pcall('ZCARD', base .. 'repeat')
local budget, stood = DRAIN_MAX, 0
spare = type(spare) == 'number' and spare or 0

-- Removes the jobs that may go; returns those, and the others in their order.
local function remove_all(ids)
  local gone, kept = {}, {}
  for _, id in ipairs(ids) do
    local ties = ties_of(base, id)
    if #gone < budget and not is_current_iteration(base, id, ties.scheduler) then
      remove_hard(base, id, ties)
      gone[#gone + 1] = id
    else
      kept[#kept + 1] = id
    end
  end
  budget = budget - #gone
  return gone, kept
end

local function push_all(key, ids)
  for first = 1, #ids, DRAIN_MAX do
    redis.call('RPUSH', key, unpack(ids, first, math.min(first + DRAIN_MAX - 1, #ids)))
  end
end

local function drain_list(name)
  local key = base .. name
  stood = stood + redis.call('LLEN', key)
  local ids = budget > 0 and redis.call('LRANGE', key, -(budget + spare), -1) or {}
  if #ids > 0 then
    local _, kept = remove_all(ids)
    redis.call('LTRIM', key, 0, -(#ids + 1))
    push_all(key, kept)
  end
end

local function drain_set(name)
  local key = base .. name
  stood = stood + redis.call('ZCARD', key)
  if budget > 0 then
    local gone = remove_all(redis.call('ZRANGE', key, 0, budget + spare - 1))
    if #gone > 0 then
      redis.call('ZREM', key, unpack(gone))
    end
  end
end

drain_list('wait')
drain_list('paused')
if ARGV[2] == 'delayed' then
  drain_set('delayed')
end
drain_set('prioritized')
return {budget == 0 and 'more' or 'done', stood}
