-- include lib/clock.lua
-- include lib/number.lua
-- include lib/remove.lua
-- Which jobs of a state are old enough to go, and how they leave it. The oldest are looked at first.

local CLEAN_MAX = 1000
local CLEANED = '0:toril-cleaned'

local LISTS = {wait = true, paused = true, active = true}
local FINISHED = {completed = true, failed = true}

-- Fields of the job that tell its age, the first present; other sets tell it by their scores.
local AGE_FIELDS = {
  wait = {'finishedOn', 'processedOn', 'timestamp'},
  paused = {'finishedOn', 'processedOn', 'timestamp'},
  active = {'finishedOn', 'processedOn', 'timestamp'},
  delayed = {'processedOn', 'timestamp'},
  prioritized = {'timestamp'},
}

-- At most CLEAN_MAX ids in the order in which they are looked at, after the first `cursor`.
local function old_jobs(base, name, latest_ms, cursor)
  local key, last = base .. name, cursor + CLEAN_MAX
  if not LISTS[name] then
    if AGE_FIELDS[name] then
      return redis.call('ZRANGE', key, cursor, last - 1)
    end
    return redis.call(
      'ZRANGEBYSCORE', key, 0, int(latest_ms), 'LIMIT', cursor, CLEAN_MAX
    )
  end
  local found, ids = redis.call('LRANGE', key, -last, -(cursor + 1)), {}
  for at = #found, 1, -1 do
    ids[#ids + 1] = found[at]
  end
  return ids
end

-- An id without a job has no age, and goes.
local function is_old(base, name, id, latest_ms)
  if not AGE_FIELDS[name] then
    return true
  end
  local values = redis.pcall('HMGET', base .. id, unpack(AGE_FIELDS[name]))
  for i = 1, values.err and 0 or #AGE_FIELDS[name] do
    if values[i] then
      return (number_of(values[i]) or 0) <= latest_ms
    end
  end
  return true
end

local function may_clean(base, name, id, ties, latest_ms)
  if name == 'active' and redis.call('EXISTS', base .. id .. ':lock') == 1 then
    return false
  elseif not FINISHED[name] and is_current_iteration(base, id, ties.scheduler) then
    return false
  end
  return is_old(base, name, id, latest_ms)
end

-- `gone`: {id, place among what `old_jobs` returned} of each. In a list a mark takes the id's place
-- first, so that one pass takes them all out; a claim throws such marks away.
local function take_out(base, name, gone, cursor)
  local key = base .. name
  if not LISTS[name] then
    for _, pair in ipairs(gone) do
      redis.call('ZREM', key, pair[1])
    end
    return
  end
  for _, pair in ipairs(gone) do
    redis.call('LSET', key, -(cursor + pair[2]), CLEANED)
  end
  if #gone > 0 then
    redis.call('LREM', key, -#gone, CLEANED)
  end
end
