-- include lib/number.lua
-- The queue's settings in meta, as BullMQ reads them.

local DEFAULT_MAX_EVENTS = '10000'
local LENGTH_DIGITS = 15

-- Length the event stream is held at. WRITES the default where none is set, as every BullMQ
-- script does: call it after the last check. What is no length counts as none, and stays.
local function max_events(base)
  local length = redis.call('HGET', base .. 'meta', 'opts.maxLenEvents')
  if not length then
    redis.call('HSET', base .. 'meta', 'opts.maxLenEvents', DEFAULT_MAX_EVENTS)
    return DEFAULT_MAX_EVENTS
  end
  return length:find('^%d+$') and #length <= LENGTH_DIGITS and length or DEFAULT_MAX_EVENTS
end

-- True while the queue is paused, or holds as many active jobs as its global concurrency allows.
local function is_gated(base)
  local meta = redis.call('HMGET', base .. 'meta', 'paused', 'concurrency')
  if meta[1] then
    return true
  end
  local concurrency = number_of(meta[2])
  return concurrency ~= nil and redis.call('LLEN', base .. 'active') >= concurrency
end
