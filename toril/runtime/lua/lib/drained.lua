-- include lib/events.lua
-- The event that says that nothing is left to run.

local function emit_drained(base)
  if redis.call('LLEN', base .. 'wait') == 0 and redis.call('LLEN', base .. 'active') == 0
    and redis.call('ZCARD', base .. 'prioritized') == 0 then
    emit(base, 'drained')
  end
end
