#!lua flags=allow-oom
-- Gives a delayed job another delay, from now on.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce, name of the request, id, delay_ms
-- Returns  'done' | the state it is in instead, or 'gone'; only 'done' changes anything
-- Events   delayed
-- BullMQ layout: change delay
--
-- include lib/clock.lua
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/state.lua
-- include lib/enqueue.lua
local base, id = KEYS[1], ARGV[4]
local now_ms = clock(ARGV[1])

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'delayed', 'marker', 'events', 'meta')
local state = state_towards(base, id, 'delayed')
if state ~= 'delayed' then
  return state
end
redis.call('HLEN', base .. id)

-- Where it stands counts for its new place, too: it comes after itself.
delay_job(base, id, now_ms, tonumber(ARGV[5]))
return remember_reply(base, ARGV[2], ARGV[3], 'done')
