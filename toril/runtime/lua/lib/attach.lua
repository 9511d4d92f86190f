-- include lib/clock.lua
-- include lib/flow.lua
-- include lib/type.lua
-- A job that is added as the child of a parent that is there, or with a deduplication id: what must
-- be so before the first write, and what becomes of a job that is there already.

local function check_ties(base, dedup, parent_key)
  if dedup ~= '' then
    local id = cjson.decode(dedup).id
    check_type(base .. 'de:' .. id, 'string', 'owner of a deduplication id')
    check_type(base .. 'dn:' .. id, 'hash', 'job')
  end
  if parent_key ~= '' then
    check_parent(parent_of(parent_key))
    check_type(parent_key, 'hash', 'job')
    check_type(parent_key .. ':dependencies', 'set', 'set of children')
    check_type(parent_key .. ':processed', 'hash', 'hash of results')
  end
end

-- Whether a job that is there may become a child of this parent, or is one.
local function is_free_for(base, id, parent_key)
  local old = redis.call('HGET', base .. id, 'parentKey')
  return not old or old == parent_key or redis.call('EXISTS', old) == 0
end

-- A job that is there becomes the parent's child; one that has completed brings its result along.
local function attach(base, id, job, now_ms)
  if redis.call('ZSCORE', base .. 'completed', id) then
    local value = redis.call('HGET', base .. id, 'returnvalue') or 'null'
    redis.call('HSET', job.parent_key .. ':processed', base .. id, value)
    release_if_done(parent_of(job.parent_key, job.parent), now_ms)
  else
    redis.call('SADD', job.dependencies_key, base .. id)
  end
  redis.call('HSET', base .. id, 'parentKey', job.parent_key, 'parent', job.parent)
end
