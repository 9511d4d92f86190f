#!lua flags=allow-oom
-- Removes a job wherever it is, with its children if asked; none while one of them is locked.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id, 'children' or ''
-- Returns  'removed' | 'gone' (there was no such job) | 'locked' (it, or a child that is still to be
--          processed, is being processed) | 'scheduled' (the job that carries a schedule on) |
--          'too-many' (more than FAMILY_MAX descendants); the last three change nothing
-- Events   removed, of every job that was there; waiting, of a parent that is released
-- BullMQ layout: remove
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/remove.lua
-- include lib/family.lua
local base, id, with_children = KEYS[1], ARGV[4], ARGV[5] == 'children'

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(
  base, 'completed', 'failed', 'delayed', 'prioritized', 'wait', 'paused', 'active', 'events',
  'meta', 'marker'
)
local ties = ties_of(base, id)
if is_current_iteration(base, id, ties.scheduler) then
  return 'scheduled'
end
local trouble = family_trouble(base .. id, with_children)
if trouble then
  return trouble
end

local function nobody()
  return {}
end

local was_there = redis.call('EXISTS', base .. id) == 1
remove_family(base, id, with_children and children_of or nobody, {})
return remember_reply(base, ARGV[2], ARGV[3], was_there and 'removed' or 'gone')
