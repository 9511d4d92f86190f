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

-- What a settlement may do: 'ours', 'already' (this token has settled the job before), 'lost'
-- or 'gone'.
local function claim_state(base, id, token, ats)
  local fields = redis.pcall('HMGET', base .. id, 't:settled', 'ats')
  if fields.err then
    return 'lost'
  elseif fields[1] == token then
    return 'already'
  end
  local state = lock_state(base, id, token, ats)
  if state == 'lapsed' then
    return 'ours'
  elseif state == 'held' then
    if not fields[2] and redis.call('EXISTS', base .. id) == 0 then
      return 'gone'
    end
    return redis.call('LPOS', base .. 'active', id) and 'ours' or 'lost'
  end
  return state
end
