-- A claimed job as the worker reads it, which is the order of HMGET's answer: data, opts, these fields,
-- and then id, data_bytes, opts_bytes.

local FIELDS = {
  'name', 'timestamp', 'priority', 'ats', 'atm', 'stc', 't:crashes', 't:interruptions',
  'processedOn', 't:cancel', 'defa', 't:checkpoint', 'rjk',
}
local ATS, PROCESSED_ON = 6, 11

-- Read in place of a field that is too large; nobody writes it.
local NO_FIELD = 't:none'

-- Data after which a call takes no further job; chosen: no reply is late because it is long.
local READ_MAX_BYTES = 1048576

-- All about a job; nil for a ghost (no job under that id, another type than a hash, or one of BullMQ's
-- old markers). Data and options over their limit in bytes are not read: their size says so.
local function read_job(base, id, max_bytes)
  if id:sub(1, 2) == '0:' then
    return nil
  end
  local key = base .. id
  local data_bytes = redis.pcall('HSTRLEN', key, 'data')
  if type(data_bytes) == 'table' then
    return nil
  end
  local opts_bytes = redis.call('HSTRLEN', key, 'opts')
  local reply = redis.call(
    'HMGET', key, data_bytes <= max_bytes.data and 'data' or NO_FIELD,
    opts_bytes <= max_bytes.opts and 'opts' or NO_FIELD, unpack(FIELDS)
  )
  if not reply[3] and data_bytes == 0 and opts_bytes == 0 then
    return nil
  end
  reply[16], reply[17], reply[18] = id, data_bytes, opts_bytes
  return {
    id = id, key = key, reply = reply, opts = reply[2], name = reply[3] or nil, data_bytes = data_bytes,
    is_to_run = not (reply[12] or reply[13]), rjk = reply[15] or nil,
  }
end
