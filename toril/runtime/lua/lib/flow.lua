-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/remove.lua
-- include lib/shape.lua
-- What the end of a child does to its parent, in whatever queue that is. A parent waits in
-- `waiting-children` until its set `dependencies` is empty, or a child's failure ends the wait.

-- How many children of a job stand in one of its keys; errors out where that has another type.
local function children_count(job_key, suffix, read)
  local found = redis.pcall(read, job_key .. suffix)
  if type(found) == 'table' then
    error({err = 'WRONGTYPE the key ' .. job_key .. suffix .. ' has the wrong type for ' .. read
      .. '; a foreign program has written it'})
  end
  return found
end

-- Why a job cannot complete yet, or at all: its children; nil where nothing is against it.
local function open_children(job_key)
  if children_count(job_key, ':dependencies', 'SCARD') > 0 then
    return 'pending-children'
  elseif children_count(job_key, ':unsuccessful', 'ZCARD') > 0 then
    return 'failed-children'
  end
  return nil
end

local FAILURE_FLAGS = {'fpof', 'cpof', 'idof', 'rdof'}

-- {key, base, id, flag}: where the parent is, and what it wants of a child that fails; nil for a
-- job without one. `parent` (JSON) tells apart an id that holds a colon.
local function parent_of(parent_key, parent)
  if not parent_key then
    return nil
  end
  local ok, told = pcall(cjson.decode, parent or '')
  told = ok and type(told) == 'table' and told or {}
  local base, id = split_key(parent_key)
  local is_same = type(told.queueKey) == 'string' and type(told.id) == 'string'
    and told.queueKey .. ':' .. told.id == parent_key
  if is_same then
    base, id = told.queueKey .. ':', told.id
  elseif not base then
    return nil
  end
  for _, flag in ipairs(FAILURE_FLAGS) do
    if told[flag] == true then
      return {key = parent_key, base = base, id = id, flag = flag}
    end
  end
  return {key = parent_key, base = base, id = id}
end

-- What is wrong with the parent's queue; nil where all is well.
local function parent_trouble(parent)
  return parent and misshapen(
    parent.base, 'wait', 'active', 'prioritized', 'delayed', 'waiting-children', 'failed',
    'marker', 'events', 'meta', 'pc'
  ) or nil
end

-- Errors out before the first write where a key of the parent's queue has another type.
local function check_parent(parent)
  local trouble = parent_trouble(parent)
  if trouble then
    error({err = trouble})
  end
end

-- The parent's way out of `waiting-children`: to where its delay and its priority put it.
local function release_parent(parent, now_ms)
  local base, id = parent.base, parent.id
  local fields = redis.call('HMGET', parent.key, 'priority', 'delay')
  local priority, delay_ms = number_of(fields[1]) or 0, number_of(fields[2]) or 0
  if delay_ms > 0 then
    local due_ms = now_ms + delay_ms
    redis.call('ZADD', base .. 'delayed', int(due_ms * SCORE_PER_MS), id)
    emit(base, 'delayed', 'jobId', id, 'delay', int(due_ms))
    return delay_mark(base)
  elseif priority ~= 0 then
    push_prio(base, priority, id)
  else
    push_tail(base, id)
  end
  emit(base, 'waiting', 'jobId', id, 'prev', 'waiting-children')
end

local function is_there(parent)
  return redis.call('TYPE', parent.key).ok == 'hash'
end

-- True when the parent was waiting for children, and does no more.
local function leave_waiting_children(parent)
  return is_there(parent)
    and redis.call('ZREM', parent.base .. 'waiting-children', parent.id) == 1
end

-- That the parent, which may be running still, had a child: one that is removed, or whose failure does
-- not count, leaves no other trace, and waiting for none would be the parent's mistake.
local function note_child(parent)
  if is_there(parent) then
    redis.call('HSET', parent.key, 't:family', 1)
  end
end

local function release_if_done(parent, now_ms)
  if redis.call('SCARD', parent.key .. ':dependencies') == 0 and leave_waiting_children(parent) then
    release_parent(parent, now_ms)
  end
end

-- True when the parent waited for this child, and does no more.
local function leave_dependencies(parent, job_key)
  return parent ~= nil and redis.pcall('SREM', parent.key .. ':dependencies', job_key) == 1
end

local function child_completed(parent, job_key, value, now_ms)
  if leave_dependencies(parent, job_key) then
    redis.pcall('HSET', parent.key .. ':processed', job_key, value)
    release_if_done(parent, now_ms)
  end
end

-- The worker that claims the parent fails it, by its field `defa`.
local function fail_parent(parent, job_key, now_ms)
  redis.pcall('ZADD', parent.key .. ':unsuccessful', int(now_ms), job_key)
  if not is_there(parent) then
    return
  end
  local reason = 'child ' .. job_key .. ' failed'
  local is_released = redis.call('ZREM', parent.base .. 'waiting-children', parent.id) == 1
  if not is_released and redis.call('ZREM', parent.base .. 'delayed', parent.id) == 1 then
    redis.call('HSET', parent.key, 'delay', 0)
    is_released = true
  end
  if is_released then
    redis.call('HSET', parent.key, 'defa', reason)
    release_parent(parent, now_ms)
  elseif not redis.call('ZSCORE', parent.base .. 'failed', parent.id) then
    redis.call('HSET', parent.key, 'defa', reason)
  end
end

-- Without a flag the parent goes on waiting, until the child is retried or removed.
local function child_failed(parent, job_key, reason, now_ms)
  if not (parent and parent.flag and leave_dependencies(parent, job_key)) then
    return
  elseif parent.flag == 'fpof' then
    return fail_parent(parent, job_key, now_ms)
  elseif parent.flag == 'cpof' then
    redis.pcall('HSET', parent.key .. ':failed', job_key, reason)
    if leave_waiting_children(parent) then
      release_parent(parent, now_ms)
    end
    return
  end
  release_if_done(parent, now_ms)
  if parent.flag == 'idof' then
    redis.pcall('HSET', parent.key .. ':failed', job_key, reason)
  else
    note_child(parent)
  end
end
