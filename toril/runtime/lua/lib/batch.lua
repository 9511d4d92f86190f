-- include lib/clock.lua
-- include lib/number.lua
-- include lib/history.lua
-- include lib/own.lua
-- Many jobs that end in one call: what is read and written once for all of them, and for each.

local JOB_ARGS = 7

-- The jobs whose ends are told from ARGV[first] on, in order.
local function told_ends(base, first)
  local jobs = {}
  for i = first, #ARGV, JOB_ARGS do
    jobs[#jobs + 1] = {
      id = ARGV[i], key = base .. ARGV[i], token = ARGV[i + 1], ats = ARGV[i + 2],
      value = ARGV[i + 3], detail = ARGV[i + 4], usage = ARGV[i + 5], entry = ARGV[i + 6],
    }
  end
  return jobs
end

local function keys_of(jobs, suffixes)
  local keys = {}
  for _, job in ipairs(jobs) do
    for _, suffix in ipairs(suffixes) do
      keys[#keys + 1] = job.key .. suffix
    end
  end
  return keys
end

-- Whether any of them has children that have not ended well, or a foreign key in their place.
local function any_children(jobs)
  return redis.call('EXISTS', unpack(keys_of(jobs, {':dependencies', ':unsuccessful'}))) > 0
end

local function locks_of(jobs)
  return redis.call('MGET', unpack(keys_of(jobs, {':lock'})))
end

local FIELDS_OF_ENDED = {
  't:settled', 'ats', 'atm', 'processedOn', 't:history', 'parentKey', 'parent', 'deid', 't:said',
  't:cancel', 't:checkpoint',
}

-- What its end may do, see `standing`; the job learns what its end needs of its hash.
local function look_at(base, job, lock)
  local f = redis.pcall('HMGET', job.key, unpack(FIELDS_OF_ENDED))
  if f.err then
    return 'lost'
  end
  job.atm, job.started_ms, job.history = f[3], f[4], f[5]
  job.parent_key, job.parent, job.dedup_id = f[6] or nil, f[7] or nil, f[8] or nil
  job.is_bound, job.is_marked = f[6] or f[8], f[9] or f[10] or f[11]
  return standing(base, job.id, job, lock, f[1], f[2])
end

-- Our own marks (see lib/settle.lua), the attempt and the end, in one write.
local function store_end(job, verdict, field, now_ms)
  redis.call(
    'HSET', job.key, 't:settled', job.token, 't:verdict', verdict, 't:detail', job.detail,
    't:usage', job.usage, 't:history', history_with(job.history, job.started_ms, now_ms, job.entry),
    'atm', int(count_of(job.atm) + 1), field, job.value, 'finishedOn', int(now_ms)
  )
  if job.is_marked then
    redis.call('HDEL', job.key, 't:said', 't:cancel', 't:checkpoint')
  end
end

-- Out of what held them while they ran.
local function free_all(base, jobs, ids, are_unsuspected)
  redis.call('DEL', unpack(keys_of(jobs, {':lock'})))
  if not are_unsuspected then
    redis.call('SREM', base .. 'stalled', unpack(ids))
  end
end

local function list_all(base, set, now_ms, ids)
  local now, scored = int(now_ms), {}
  for i, id in ipairs(ids) do
    scored[2 * i - 1], scored[2 * i] = now, id
  end
  redis.call('ZADD', base .. set, unpack(scored))
end

-- The answer of one job: why its end is refused, 'done', or the error that it ran into, which clients
-- tell apart from the words, and which leaves the other jobs alone.
local function isolated(refusal, act, job, lock)
  local is_well, answer = pcall(refusal, job, lock)
  if is_well and not answer then
    is_well, answer = pcall(act, job)
  end
  if is_well then
    return answer or 'done'
  end
  return {err = type(answer) == 'table' and answer.err or 'ERR ' .. tostring(answer)}
end
