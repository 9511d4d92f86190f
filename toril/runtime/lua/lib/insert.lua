-- include lib/clock.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/shape.lua
-- A new job's way in, whoever adds it: a producer, the end of a deduplicated job, a schedule.

-- Errors out before the first write where an insertion would stumble; returns the last id given.
local function check_insert(base)
  check_shape(
    base, 'id', 'wait', 'active', 'prioritized', 'delayed', 'marker', 'events', 'meta', 'pc'
  )
  return tonumber(redis.call('GET', base .. 'id') or '0')
end

local function place_job(base, id, at_ms, delay_ms, priority, is_lifo)
  if delay_ms > 0 then
    local due_ms = at_ms + delay_ms
    redis.call('ZADD', base .. 'delayed', int(delayed_score(base, due_ms)), id)
    emit_trimmed(base, 'delayed', 'jobId', id, 'delay', int(due_ms))
    return delay_mark(base)
  elseif priority ~= 0 then
    push_prio(base, priority, id)
  elseif is_lifo then
    push_tail(base, id)
  else
    push_head(base, id)
  end
  emit_trimmed(base, 'waiting', 'jobId', id)
end

-- job: {name, data, opts, at_ms, delay_ms, priority, is_lifo} and, where it has them, parent_key,
-- parent (JSON), dependencies_key, dedup_id, scheduler.
local function insert_job(base, id, job)
  local fields = {
    'name', job.name, 'data', job.data, 'opts', job.opts, 'timestamp', int(job.at_ms),
    'delay', int(job.delay_ms), 'priority', int(job.priority),
  }
  for field, value in pairs({
    parentKey = job.parent_key, parent = job.parent, deid = job.dedup_id, rjk = job.scheduler,
  }) do
    fields[#fields + 1], fields[#fields + 2] = field, value
  end
  redis.call('HSET', base .. id, unpack(fields))
  emit(base, 'added', 'jobId', id, 'name', job.name)
  place_job(base, id, job.at_ms, job.delay_ms, job.priority, job.is_lifo)
  if job.dependencies_key then
    -- Producers have checked it; what was noted to follow may name a foreign key by now.
    redis.pcall('SADD', job.dependencies_key, base .. id)
  end
end
