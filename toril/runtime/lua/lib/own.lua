-- Who owns a job. A lock that holds another token is somebody else's; a lock that is absent (it
-- ran out while Redis was away) is still ours if the job is in `active` and has not been started
-- again since: `ats` equals the claim's.

-- 'held' (the lock is ours), 'lapsed' (ours to retake), 'lost', or 'gone' (there is no job).
local function lock_state(base, id, token, ats)
  local lock = redis.pcall('GET', base .. id .. ':lock')
  if lock == token then
    return 'held'
  end
  local started = redis.pcall('HGET', base .. id, 'ats')
  if type(started) == 'table' then
    return 'lost'
  end
  if lock or started ~= ats or not redis.call('LPOS', base .. 'active', id) then
    return redis.call('EXISTS', base .. id) == 1 and 'lost' or 'gone'
  end
  return 'lapsed'
end

-- What a settlement may do by what its lock and its hash hold: 'ours' (if the id is in `active`, which
-- is left to the caller), 'already' (this token has settled the job before), 'lost' or 'gone'.
-- `lock`, `settled` and `started`: the lock, `t:settled` and `ats` as they stand.
local function standing(base, id, claim, lock, settled, started)
  if settled == claim.token then
    return 'already'
  elseif lock == claim.token then
    return (started or redis.call('EXISTS', base .. id) == 1) and 'ours' or 'gone'
  elseif lock or started ~= claim.ats then
    return redis.call('EXISTS', base .. id) == 1 and 'lost' or 'gone'
  end
  return 'ours'
end

-- The same, `active` looked at.
local function claim_state(base, id, token, ats)
  local fields = redis.pcall('HMGET', base .. id, 't:settled', 'ats')
  if fields.err then
    return 'lost'
  end
  local lock = redis.pcall('GET', base .. id .. ':lock')
  local state = standing(base, id, {token = token, ats = ats}, lock, fields[1], fields[2])
  if state == 'ours' and not redis.call('LPOS', base .. 'active', id) then
    return 'lost'
  end
  return state
end
