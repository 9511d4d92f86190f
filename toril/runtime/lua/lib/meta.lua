-- include lib/number.lua
-- The queue's settings in meta, as BullMQ reads them.

local DEFAULT_MAX_EVENTS = '10000'
local LENGTH_DIGITS = 15

-- Length the event stream is held at, of what meta says. WRITES the default where none is set, as
-- every BullMQ script does: call it after the last check. What is no length counts as none, and stays.
local function max_events_of(base, length)
  if not length then
    redis.call('HSET', base .. 'meta', 'opts.maxLenEvents', DEFAULT_MAX_EVENTS)
    return DEFAULT_MAX_EVENTS
  end
  return length:find('^%d+$') and #length <= LENGTH_DIGITS and length or DEFAULT_MAX_EVENTS
end

local function max_events(base)
  return max_events_of(base, redis.call('HGET', base .. 'meta', 'opts.maxLenEvents'))
end

-- True while the queue is paused, or holds as many active jobs as its global concurrency allows; of
-- what meta says of both.
local function is_gated_by(base, paused, concurrency)
  if paused then
    return true
  end
  concurrency = number_of(concurrency)
  return concurrency ~= nil and redis.call('LLEN', base .. 'active') >= concurrency
end

local function is_gated(base)
  local meta = redis.call('HMGET', base .. 'meta', 'paused', 'concurrency')
  return is_gated_by(base, meta[1], meta[2])
end
