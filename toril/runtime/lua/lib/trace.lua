-- Why an attempt failed, as BullMQ keeps it: `failedReason` of the latest, `stacktrace` of all.

-- Longest text of earlier traces that is read; chosen: a tenth of a second of the server's time.
local TRACES_MAX_BYTES = 8388608

-- The stack traces so far plus `stack` ('' adds none), the last `limit` of them ('' keeps all).
-- What is no text among them goes: not every value that can be read can be written again.
local function appended_stack(old, stack, limit)
  local ok, traces = pcall(cjson.decode, old and #old <= TRACES_MAX_BYTES and old or '[]')
  if not ok or type(traces) ~= 'table' or (next(traces) ~= nil and traces[1] == nil) then
    traces = {}
  end
  if stack ~= '' then
    traces[#traces + 1] = stack
  end
  local kept = {}
  for i = math.max(1, #traces + 1 - (tonumber(limit) or #traces)), #traces do
    kept[#kept + 1] = type(traces[i]) == 'string' and traces[i] or nil
  end
  if #kept == 0 then
    return '[]'
  end
  -- It reads NaN and writes none; only a foreign program's traces can hold it.
  local is_json, text = pcall(cjson.encode, kept)
  return is_json and text or cjson.encode({stack})
end

local function leave_failure(base, id, reason, stack, limit)
  local traces = appended_stack(redis.call('HGET', base .. id, 'stacktrace'), stack, limit)
  redis.call('HSET', base .. id, 'failedReason', reason, 'stacktrace', traces)
end
