-- The queue's settings in meta, as BullMQ reads them.

local DEFAULT_MAX_EVENTS = '10000'

-- Length the event stream is held at. WRITES the default where none is set, as every BullMQ
-- script does: call it after the last check.
local function max_events(base)
  local length = redis.call('HGET', base .. 'meta', 'opts.maxLenEvents')
  if not length then
    redis.call('HSET', base .. 'meta', 'opts.maxLenEvents', DEFAULT_MAX_EVENTS)
    return DEFAULT_MAX_EVENTS
  end
  return length
end

-- True while the queue is paused, or holds as many active jobs as its global concurrency allows.
local function is_gated(base)
  local meta = redis.call('HMGET', base .. 'meta', 'paused', 'concurrency')
  if meta[1] then
    return true
  end
  local concurrency = tonumber(meta[2] or '')
  return concurrency ~= nil and redis.call('LLEN', base .. 'active') >= concurrency
end
