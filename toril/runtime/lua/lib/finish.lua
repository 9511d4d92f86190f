-- include lib/keep.lua
-- include lib/metrics.lua
-- include lib/events.lua
-- include lib/settle.lua
-- include lib/dedup.lua
-- include lib/flow.lua
-- include lib/drained.lua
-- The end of a job, completed or failed: effects and their order are BullMQ's.

-- {parent, dedup_id}: what else the end of a job concerns.
local function bonds_of(base, id)
  local fields = redis.call('HMGET', base .. id, 'parentKey', 'parent', 'deid')
  return {
    parent = parent_of(fields[1] or nil, fields[2] or nil), dedup_id = fields[3] or nil,
  }
end

local function drop_ended(base, id, parent_key)
  drop_keys(base, id)
  detach(base, id, {parent_key = parent_key}, false)
end

-- Second half of a finish, after the outcome's own fields: keep or drop, event, drained.
-- `set` is 'completed' or 'failed', `field` the hash field and event field of the value, `prev`
-- the state that the job leaves.
local function keep_or_drop(base, id, now_ms, set, field, value, keep, prev)
  local count = tonumber(keep.count)
  if count == 0 then
    drop_ended(base, id, ties_of(base, id).parent_key)
  else
    redis.call('ZADD', base .. set, int(now_ms), id)
    redis.call('HSET', base .. id, field, value, 'finishedOn', int(now_ms))
    redis.call('HDEL', base .. id, 't:cancel', 't:checkpoint')
    if set == 'failed' then
      redis.call('HDEL', base .. id, 'defa')
    end
    trim_finished(base, set, now_ms, count, keep.age_s, keep.limit)
  end
  emit(base, set, 'jobId', id, field, value, 'prev', prev)
end

-- Errors out before the first write where what follows a finish would stumble.
local function check_bonds(base, parent, dedup_id)
  if dedup_id then
    check_shape(base, 'delayed', 'pc')
  end
  check_parent(parent)
end

-- Errors out before the first write where a finish or its bonds would stumble. A failure is recorded
-- even where the parent's queue is broken: the parent is not told, until the child is retried.
local function check_finish(base, set, bonds)
  check_settlement(base, set)
  if set == 'failed' and parent_trouble(bonds.parent) then
    bonds.parent = nil
  end
  check_bonds(base, bonds.parent, bonds.dedup_id)
end
