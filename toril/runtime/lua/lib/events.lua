-- include lib/meta.lua
-- The event stream. BullMQ trims at some of its events only; callers choose as BullMQ does.

local function emit(base, event, ...)
  redis.call('XADD', base .. 'events', '*', 'event', event, ...)
end

local function emit_trimmed(base, event, ...)
  redis.call('XADD', base .. 'events', 'MAXLEN', '~', max_events(base), '*', 'event', event, ...)
end

local function trim_events(base)
  redis.call('XTRIM', base .. 'events', 'MAXLEN', '~', max_events(base))
end
