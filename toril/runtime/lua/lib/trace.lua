-- Why an attempt failed, as BullMQ keeps it: `failedReason` of the latest, `stacktrace` of all.

-- The stack traces so far plus `stack` ('' adds none), the last `limit` of them ('' keeps all).
-- What is no text among them goes: not every value that can be read can be written again.
local function appended_stack(old, stack, limit)
  local ok, traces = pcall(cjson.decode, old or '[]')
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
  return #kept == 0 and '[]' or cjson.encode(kept)
end

local function leave_failure(base, id, reason, stack, limit)
  local traces = appended_stack(redis.call('HGET', base .. id, 'stacktrace'), stack, limit)
  redis.call('HSET', base .. id, 'failedReason', reason, 'stacktrace', traces)
end
