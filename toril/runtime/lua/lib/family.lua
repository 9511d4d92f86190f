-- include lib/events.lua
-- include lib/remove.lua
-- A job and, below it, its children in whatever queue, as one: may they go, and let them go.

local FAMILY_MAX = 10000

local PLACES = {
  {'completed', 'ZREM'}, {'waiting-children', 'ZREM'}, {'delayed', 'ZREM'}, {'failed', 'ZREM'},
  {'prioritized', 'ZREM'}, {'wait', 'LREM'}, {'paused', 'LREM'}, {'active', 'LREM'},
}

-- Full keys of a job's children: those that are settled, then those that are not.
local function children_of(job_key)
  local found = {}
  for _, read in ipairs({
    {'HKEYS', ':processed'}, {'HKEYS', ':failed'}, {'ZRANGE', ':unsuccessful', 0, -1},
    {'SMEMBERS', ':dependencies'},
  }) do
    local keys = redis.pcall(read[1], job_key .. read[2], unpack(read, 3))
    for _, key in ipairs(keys.err and {} or keys) do
      found[#found + 1] = key
    end
  end
  return found
end

-- 'locked', 'too-many' or nil. Only children that are still to be processed can be locked.
local function family_trouble(job_key, with_children)
  if redis.call('EXISTS', job_key .. ':lock') == 1 then
    return 'locked'
  end
  local pending, count, is_known = {with_children and job_key or nil}, 0, {[job_key] = true}
  while #pending > 0 do
    local parent_key = table.remove(pending)
    local waited_for = redis.pcall('SMEMBERS', parent_key .. ':dependencies')
    for _, child_key in ipairs(waited_for.err and {} or waited_for) do
      if redis.call('EXISTS', child_key .. ':lock') == 1 then
        return 'locked'
      end
    end
    for _, child_key in ipairs(children_of(parent_key)) do
      if not is_known[child_key] then
        is_known[child_key] = true
        pending[#pending + 1], count = child_key, count + 1
      end
    end
    if count > FAMILY_MAX then
      return 'too-many'
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
