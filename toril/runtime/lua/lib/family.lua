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

local function check_queue_of(job_key, is_checked)
  local base = split_key(job_key)
  if base and not is_checked[base] then
    check_shape(base, 'events', 'meta')
    is_checked[base] = true
  end
end

-- 'locked', 'too-many' or nil. Only children that are still to be processed can be locked. Errors
-- out where a removal would stumble over a key of a child's queue.
local function family_trouble(job_key, with_children)
  if redis.call('EXISTS', job_key .. ':lock') == 1 then
    return 'locked'
  end
  local pending, count = {with_children and job_key or nil}, 0
  local is_known, is_checked = {[job_key] = true}, {}
  while #pending > 0 do
    local parent_key = table.remove(pending)
    count = count + count_children(parent_key)
    if count > FAMILY_MAX then
      return 'too-many'
    end
    local waited_for = redis.pcall('SMEMBERS', parent_key .. ':dependencies')
    for _, child_key in ipairs(waited_for.err and {} or waited_for) do
      if redis.call('EXISTS', child_key .. ':lock') == 1 then
        return 'locked'
      end
    end
    for _, child_key in ipairs(children_of(parent_key)) do
      if not is_known[child_key] then
        is_known[child_key], pending[#pending + 1] = true, child_key
        check_queue_of(child_key, is_checked)
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

-- True when the job was there; the order of the events is BullMQ's. `is_known`: full keys of those
-- that are being removed, by which a circle that somebody has tied ends.
local function remove_family(base, id, with_children, is_known)
  is_known[base .. id] = true
  local ties = ties_of(base, id)
  detach(base, id, ties, false)
  if with_children then
    for _, child_key in ipairs(children_of(base .. id)) do
      local child_base, child_id = split_key(child_key)
      if child_base and not is_known[child_key] then
        remove_family(child_base, child_id, true, is_known)
      end
    end
  end
  local prev, was_there = leave_place(base, id), redis.call('EXISTS', base .. id) == 1
  drop_job(base, id, ties)
  if was_there then
    emit_trimmed(base, 'removed', 'jobId', id, 'prev', prev)
  end
  return was_there
end
