#!lua flags=allow-oom
-- Destroys a queue: pauses it, removes OBLITERATE_MAX jobs per call, and at last its own keys.
-- Parents that wait for children of other queues stay, as does the limiter.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), 'start' or '' (a further call), 'force' or ''
-- Returns  'done' | 'more' (ask again) | 'active' (jobs run, and it was not forced) |
--          'resumed' (somebody resumed the queue meanwhile); the last two change nothing
-- Events   none: the stream goes
-- BullMQ layout: obliterate
--
-- include lib/shape.lua
-- include lib/remove.lua
local OBLITERATE_MAX = 1000
local PLACES = {
  'active', 'delayed', 'repeat', 'completed', 'wait', 'paused', 'prioritized', 'failed',
}
local OWN_KEYS = {
  'events', 'delay', 'stalled-check', 'stalled', 'id', 'pc', 'marker', 'meta',
  'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data',
  'toril:limit', 'toril:hold',
}

local base, budget = KEYS[1], OBLITERATE_MAX
check_shape(
  base, 'active', 'delayed', 'completed', 'wait', 'paused', 'prioritized', 'failed', 'meta',
  'marker'
)
if ARGV[2] ~= 'start' and redis.call('HEXISTS', base .. 'meta', 'paused') == 0 then
  return 'resumed'
elseif ARGV[3] ~= 'force' and redis.call('LLEN', base .. 'active') > 0 then
  return 'active'
end
redis.call('HSET', base .. 'meta', 'paused', 1)

local function remove_one(name, id)
  if name == 'repeat' then
    redis.call('DEL', base .. 'repeat:' .. id)
    return
  elseif name == 'active' then
    redis.call('DEL', base .. id .. ':lock')
  end
  remove_hard(base, id, ties_of(base, id))
end

for _, name in ipairs(PLACES) do
  local key = base .. name
  local is_list = redis.call('TYPE', key).ok == 'list'
  local ids = redis.pcall(is_list and 'LRANGE' or 'ZRANGE', key, 0, budget - 1)
  ids = ids.err and {} or ids
  for _, id in ipairs(ids) do
    remove_one(name, id)
  end
  if #ids > 0 then
    redis.call(is_list and 'LTRIM' or 'ZREMRANGEBYRANK', key, is_list and #ids or 0,
      is_list and -1 or #ids - 1)
  end
  budget = budget - #ids
  if budget == 0 then
    return 'more'
  end
end
for _, name in ipairs(OWN_KEYS) do
  redis.call('DEL', base .. name)
end
return 'done'
