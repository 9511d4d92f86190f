#!lua flags=allow-oom
-- Unties a job from its parent, which waits for it no more.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id
-- Returns  'done' | 'untied' (no parent waits for it) | 'gone' (there is no such job); only 'done'
--          changes anything
-- Events   waiting, of a parent that waited for nothing else
-- BullMQ layout: remove child dependency
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/remove.lua
local base, id = KEYS[1], ARGV[4]
local job_key = base .. id

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
if redis.call('HLEN', job_key) == 0 then
  return 'gone'
end
local ties = ties_of(base, id)
local parent_base = split_key(ties.parent_key or '')
if not parent_base or redis.call('EXISTS', ties.parent_key) == 0
  or redis.pcall('SISMEMBER', ties.parent_key .. ':dependencies', job_key) ~= 1 then
  return 'untied'
end
check_shape(parent_base, 'wait', 'waiting-children', 'active', 'events', 'meta', 'marker')

detach(base, id, ties, false)
redis.call('HDEL', job_key, 'parentKey', 'parent')
return remember_reply(base, ARGV[2], ARGV[3], 'done')
