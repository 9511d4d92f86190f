-- A claimed job as the worker reads it.

local FIELDS = {
  'name', 'timestamp', 'priority', 'ats', 'atm', 'stc', 't:crashes',
  't:interruptions', 'defa', 'processedOn', 'rjk', 't:cancel',
  't:checkpoint',
}

-- Read in place of a field that is too large; nobody writes it.
local NO_FIELD = 't:none'

-- Everything about a job but its data and options; nil for a ghost (no job under that id, or
-- another type than a hash).
local function peek_job(base, id)
  local values = redis.pcall('HMGET', base .. id, unpack(FIELDS))
  if values.err then
    return nil
  end
  local job = {id = id, key = base .. id}
  for i, field in ipairs(FIELDS) do
    job[field] = values[i] or nil
  end
  job.data_bytes = redis.call('HSTRLEN', job.key, 'data')
  job.opts_bytes = redis.call('HSTRLEN', job.key, 'opts')
  if not job.name and job.data_bytes == 0 and job.opts_bytes == 0 then
    return nil
  end
  return job
end

-- The job as a flat array; fields over their size limit are not read: their size says so.
local function job_reply(job, token, max_data_bytes, max_opts_bytes)
  local read = redis.call(
    'HMGET', job.key, job.data_bytes <= max_data_bytes and 'data' or NO_FIELD,
    job.opts_bytes <= max_opts_bytes and 'opts' or NO_FIELD
  )
  return {
    job.id, token, job.name or '', read[1] or '', read[2] or '', job.data_bytes, job.opts_bytes,
    job.timestamp or '', job.priority or '', job.ats or '', job.atm or '',
    job.stc or '', job['t:crashes'] or '', job['t:interruptions'] or '', job.processedOn or '',
    job['t:cancel'] or false, job.defa or false, job['t:checkpoint'] or false,
  }
end
