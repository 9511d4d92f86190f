-- include lib/events.lua
-- include lib/remove.lua
-- include lib/shape.lua
-- A job and, below it, its children in whatever queue, as one: may they go, and let them go.

local FAMILY_MAX = 10000

local PLACES = {
  {'completed', 'ZREM'}, {'waiting-children', 'ZREM'}, {'delayed', 'ZREM'}, {'failed', 'ZREM'},
  {'prioritized', 'ZREM'}, {'wait', 'LREM'}, {'paused', 'LREM'}, {'active', 'LREM'},
}

-- Where a job's children are: those that are settled, then those that are not.
local CHILDREN = {
  {':processed', 'HLEN', 'HKEYS'}, {':failed', 'HLEN', 'HKEYS'},
  {':unsuccessful', 'ZCARD', 'ZRANGE', 0, -1}, {':dependencies', 'SCARD', 'SMEMBERS'},
}

local function count_children(job_key)
  local count = 0
  for _, place in ipairs(CHILDREN) do
    local length = redis.pcall(place[2], job_key .. place[1])
    count = count + (type(length) == 'number' and length or 0)
  end
  return count
end

-- Their full keys.
local function children_of(job_key)
  local found = {}
  for _, place in ipairs(CHILDREN) do
    local keys = redis.pcall(place[3], job_key .. place[1], unpack(place, 4))
    for _, key in ipairs(keys.err and {} or keys) do
      found[#found + 1] = key
    end
  end
  return found
end

local function is_locked(job_key)
  return redis.call('EXISTS', job_key .. ':lock') == 1
end

local function has_failed(job_key)
  local base, id = split_key(job_key)
  return type(redis.pcall('ZSCORE', base .. 'failed', id)) == 'string'
end

-- Full keys of the children that are still to be processed, nobody processes, and have not failed.
local function idle_children_of(job_key)
  local found = {}
  local waited_for = redis.pcall('SMEMBERS', job_key .. ':dependencies')
  for _, key in ipairs(waited_for.err and {} or waited_for) do
    if split_key(key) and not is_locked(key) and not has_failed(key) then
      found[#found + 1] = key
    end
  end
  return found
end

local function count_waited_for(job_key)
  local count = redis.pcall('SCARD', job_key .. ':dependencies')
  return type(count) == 'number' and count or 0
end

local function check_queue_of(job_key, is_checked)
  local base = split_key(job_key)
  if base and not is_checked[base] then
    check_shape(base, 'events', 'meta')
    is_checked[base] = true
  end
end

-- Full keys of a job and of all that `children` leads to, each once whatever circles somebody has
-- tied; nil where by `count` there may be more than FAMILY_MAX. Errors out where a removal would
-- stumble over a key of a child's queue.
local function family_of(job_key, children, count)
  local found, is_known, is_checked = {job_key}, {[job_key] = true}, {}
  local at, counted = 1, 0
  while at <= #found do
    counted = counted + count(found[at])
    if counted > FAMILY_MAX then
      return nil
    end
    for _, child_key in ipairs(children(found[at])) do
      if not is_known[child_key] then
        is_known[child_key], found[#found + 1] = true, child_key
        check_queue_of(child_key, is_checked)
      end
    end
    at = at + 1
  end
  return found
end

-- 'locked', 'too-many' or nil. Only children that are still to be processed can be locked.
local function family_trouble(job_key, with_children)
  if is_locked(job_key) then
    return 'locked'
  end
  local family = with_children and family_of(job_key, children_of, count_children) or {}
  if with_children and #family == 0 then
    return 'too-many'
  end
  for _, parent_key in ipairs(family) do
    local waited_for = redis.pcall('SMEMBERS', parent_key .. ':dependencies')
    for _, child_key in ipairs(waited_for.err and {} or waited_for) do
      if is_locked(child_key) then
        return 'locked'
      end
    end
  end
  return nil
end

-- The list or set that held the id.
local function leave_place(base, id)
  for _, place in ipairs(PLACES) do
    local key, command = base .. place[1], place[2]
    local removed = command == 'ZREM' and redis.pcall('ZREM', key, id)
      or redis.pcall('LREM', key, 0, id)
    if type(removed) == 'number' and removed > 0 then
      return place[1]
    end
  end
  return 'unknown'
end

-- How many jobs were removed; the order of the events is BullMQ's. `children`: those that go with a
-- job, by its full key. `is_known`: full keys of those that are being removed, by which a circle
-- ends.
local function remove_family(base, id, children, is_known)
  is_known[base .. id] = true
  local ties, removed = ties_of(base, id), 0
  detach(base, id, ties, false)
  for _, child_key in ipairs(children(base .. id)) do
    local child_base, child_id = split_key(child_key)
    if child_base and not is_known[child_key] then
      removed = removed + remove_family(child_base, child_id, children, is_known)
    end
  end
  local prev, was_there = leave_place(base, id), redis.call('EXISTS', base .. id) == 1
  drop_job(base, id, ties)
  if was_there then
    emit_trimmed(base, 'removed', 'jobId', id, 'prev', prev)
    removed = removed + 1
  end
  return removed
end
