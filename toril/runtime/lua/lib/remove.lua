-- include lib/clock.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/drop.lua
-- include lib/shape.lua
-- Taking jobs away for good: out of their parent's dependencies, their deduplication key, their
-- keys. What a foreign program has left in a key's place is passed over, never half-way stumbled on.

-- The base and the id in a full job key; the id stands after the last colon.
local function split_key(job_key)
  return job_key:match('^(.*:)([^:]*)$')
end

-- True for the one job that carries a living scheduler on: without it the schedule would end.
local function is_current_iteration(base, id, scheduler)
  local next_ms = scheduler and redis.pcall('ZSCORE', base .. 'repeat', scheduler)
  return type(next_ms) == 'string' and id == 'repeat:' .. scheduler .. ':' .. int(tonumber(next_ms))
end

-- Parent, deduplication id and scheduler of a job; none for what is no job.
local function ties_of(base, id)
  local fields = redis.pcall('HMGET', base .. id, 'parentKey', 'deid', 'rjk')
  if fields.err then
    return {}
  end
  return {parent_key = fields[1], dedup_id = fields[2], scheduler = fields[3]}
end

-- Whether a parent could be put among the jobs that wait there.
local function takes_jobs(base)
  return (pcall(check_shape, base, 'wait', 'active', 'marker', 'events', 'meta'))
end

-- Out of the dependencies of the parent; one that thereby waits for nothing more is released, or,
-- with `is_hard` and in the same queue, removed as well. Its priority and delay do not count.
local function detach(base, id, ties, is_hard)
  local parent_key = ties.parent_key
  local parent_base, parent_id = split_key(parent_key or '')
  if not parent_base or redis.call('EXISTS', parent_key) == 0
    or redis.pcall('SREM', parent_key .. ':dependencies', base .. id) ~= 1
    or redis.call('SCARD', parent_key .. ':dependencies') > 0 or not takes_jobs(parent_base) then
    return
  end
  if redis.pcall('ZREM', parent_base .. 'waiting-children', parent_id) ~= 1 then
    return
  end
  if is_hard and parent_base == base then
    detach(base, parent_id, ties_of(base, parent_id), true)
    drop_keys(base, parent_id)
    if ties.dedup_id then
      redis.call('DEL', base .. 'de:' .. ties.dedup_id)
    end
    return
  end
  push_tail(parent_base, parent_id)
  if not is_hard then
    emit(parent_base, 'waiting', 'jobId', parent_id, 'prev', 'waiting-children')
  end
end

-- The keys of a job, and its deduplication id if the job owns it.
local function drop_job(base, id, ties)
  local owned = ties.dedup_id and redis.pcall('GET', base .. 'de:' .. ties.dedup_id) == id
  if owned then
    redis.call('DEL', base .. 'de:' .. ties.dedup_id, base .. 'dn:' .. ties.dedup_id)
  end
  drop_keys(base, id)
end

-- A whole job but its place in a list or set, as bulk operations remove it.
local function remove_hard(base, id, ties)
  detach(base, id, ties, true)
  drop_job(base, id, ties)
end
