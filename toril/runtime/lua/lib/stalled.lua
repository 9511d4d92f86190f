-- include lib/events.lua
-- include lib/number.lua
-- include lib/enqueue.lua
-- include lib/history.lua
-- What a sweep does to one suspect, and how the next sweep's suspects are noted.

local STALLED_TOO_OFTEN = 'job stalled more than allowable limit'
local CHUNK = 1000

-- Jobs of a living scheduler never fail for stalling.
local function is_scheduled(base, scheduler)
  if not scheduler then
    return false
  end
  return redis.call('EXISTS', base .. 'repeat:' .. scheduler) == 1
    or type(redis.pcall('ZSCORE', base .. 'repeat', scheduler)) == 'string'
end

-- The attempt that nobody ended, for the history: its number, and the worker that vanished.
local function stalled_entry(ats, worker)
  return '{"attempt":' .. ((ats or ''):match('^%d+$') or '0') .. ',"verdict":"stalled","worker":'
    .. cjson.encode(worker or '') .. '}'
end

-- True when the job went back to be run next. What is no job (any more) only leaves `active`.
local function recover(base, id, now_ms, max_stalled)
  if id:sub(1, 2) == '0:' then
    redis.call('LREM', base .. 'active', 1, id)
    return false
  end
  local fields = redis.pcall('HMGET', base .. id, 'stc', 'rjk', 'ats', 'pb', 't:history', 'processedOn')
  local is_job = not fields.err and redis.call('EXISTS', base .. id) == 1
  local is_held = type(redis.pcall('GET', base .. id .. ':lock')) == 'string'
  if is_job and is_held or redis.call('LREM', base .. 'active', 1, id) == 0 or not is_job then
    return false
  end
  local stalls = count_of(fields[1]) + 1
  local history = history_with(
    fields[5], fields[6], now_ms, stalled_entry(fields[3], fields[4])
  )
  redis.call('HSET', base .. id, 'stc', int(stalls), 't:history', history)
  if stalls > max_stalled and not is_scheduled(base, fields[2]) then
    redis.call('HSET', base .. id, 'defa', STALLED_TOO_OFTEN)
  end
  push_tail(base, id)
  emit(base, 'waiting', 'jobId', id, 'prev', 'active')
  emit(base, 'stalled', 'jobId', id)
  return true
end

-- Every active job is a suspect until it is renewed or settled.
local function suspect_active(base)
  local ids = redis.call('LRANGE', base .. 'active', 0, -1)
  for first = 1, #ids, CHUNK do
    redis.call('SADD', base .. 'stalled', unpack(ids, first, math.min(first + CHUNK - 1, #ids)))
  end
end
