-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/enqueue.lua
-- include lib/drop.lua
-- include lib/insert.lua
-- Deduplication: `de:<id>` names the job that owns the id, `dn:<id>` holds the job that is to follow
-- when an active owner ends.

-- No expiry where the newest is kept: the owner's end releases the key.
local function own_dedup(key, id, wish)
  local ttl_ms = wish.keepLastIfActive ~= true and (number_of(wish.ttl) or 0) or 0
  if ttl_ms > 0 then
    redis.call('SET', key, id, 'PX', int(math.ceil(ttl_ms)))
  else
    redis.call('SET', key, id)
  end
end

local function emit_deduplicated(base, id, wish, other_id)
  emit_trimmed(
    base, 'deduplicated', 'jobId', id, 'deduplicationId', wish.id, 'deduplicatedJobId', other_id
  )
end

-- A delayed owner makes way for the new job.
local function replace_owner(base, key, next_key, owner, id, wish)
  drop_keys(base, owner)
  emit(base, 'removed', 'jobId', owner, 'prev', 'delayed')
  emit_deduplicated(base, id, wish, owner)
  redis.call('DEL', next_key)
  local keeps_time = wish.keepLastIfActive ~= true and wish.extend ~= true
    and (number_of(wish.ttl) or 0) > 0
  if keeps_time then
    redis.call('SET', key, id, 'KEEPTTL')
  else
    own_dedup(key, id, wish)
  end
end

-- True when the new job was noted to follow its active owner; an older note makes way.
local function note_next(base, key, next_key, owner, id, job)
  if job.dedup.keepLastIfActive ~= true or not redis.call('LPOS', base .. 'active', owner) then
    return false
  end
  redis.call('DEL', next_key)
  redis.call('HSET', next_key, 'name', job.name, 'data', job.data, 'opts', job.opts, 'jid', id)
  redis.call('PERSIST', key)
  emit_deduplicated(base, owner, job.dedup, id)
  return true
end

local function reschedule(base, owner, job)
  if redis.call('ZSCORE', base .. 'delayed', owner) then
    delay_job(base, owner, job.at_ms, job.delay_ms)
  end
end

-- The id of the job that stands for this one, or nil: then the new job owns the id, and is to be
-- added. `job` as `insert_job` takes it, with `dedup`, its wish.
local function deduplicate(base, id, job)
  local wish = job.dedup
  local key, next_key = base .. 'de:' .. wish.id, base .. 'dn:' .. wish.id
  local owner = redis.call('GET', key)
  if not owner then
    own_dedup(key, id, wish)
    return nil
  elseif wish.replace == true and redis.call('ZREM', base .. 'delayed', owner) == 1 then
    replace_owner(base, key, next_key, owner, id, wish)
    return nil
  elseif redis.call('PTTL', key) == -1 and redis.call('EXISTS', base .. owner) == 0 then
    redis.call('DEL', key, next_key)
    own_dedup(key, id, wish)
    return nil
  elseif note_next(base, key, next_key, owner, id, job) or wish.replace == true then
    return owner
  end
  if wish.extend == true and (number_of(wish.ttl) or 0) > 0 then
    own_dedup(key, owner, wish)
  end
  emit_deduplicated(base, owner, wish, id)
  if wish.reschedule == true then
    reschedule(base, owner, job)
  end
  return owner
end

-- The options of a stored job (JSON) as a table.
local function decoded_opts(opts)
  local ok, decoded = pcall(cjson.decode, opts or '')
  return ok and type(decoded) == 'table' and decoded or {}
end

-- Adds the job that was noted to follow. An id that somebody else has taken meanwhile is not
-- added twice: the job gets a number.
local function add_next(base, dedup_id, now_ms)
  local next_key = base .. 'dn:' .. dedup_id
  local stored = redis.pcall(
    'HMGET', next_key, 'name', 'data', 'opts', 'jid', 'pk', 'pd', 'pdk', 'rjk'
  )
  local given = not stored.err and stored[1] and redis.pcall('INCR', base .. 'id')
  if type(given) ~= 'number' then
    return
  end
  local number = int(given)
  local id = stored[4] or number
  if redis.call('EXISTS', base .. id) == 1 then
    id = number
  end
  local opts = decoded_opts(stored[3])
  own_dedup(base .. 'de:' .. dedup_id, id, type(opts.de) == 'table' and opts.de or {})
  insert_job(base, id, {
    name = stored[1], data = stored[2] or '{}', opts = stored[3] or '{}', at_ms = now_ms,
    delay_ms = number_of(opts.delay) or 0, priority = number_of(opts.priority) or 0,
    is_lifo = opts.lifo == true, parent_key = stored[5] or nil, parent = stored[6] or nil,
    dependencies_key = stored[7] or nil, dedup_id = dedup_id, scheduler = stored[8] or nil,
  })
  redis.call('DEL', next_key)
end

-- The end of a job with a deduplication id: a key that it owns is released, one with time left
-- outlives it, and the job that was noted to follow is added.
local function release_dedup(base, id, dedup_id, now_ms)
  if not dedup_id then
    return
  end
  local key = base .. 'de:' .. dedup_id
  local ttl_ms = redis.call('PTTL', key)
  if ttl_ms == 0 or (ttl_ms == -1 and redis.pcall('GET', key) == id) then
    redis.call('DEL', key)
  end
  add_next(base, dedup_id, now_ms)
end
