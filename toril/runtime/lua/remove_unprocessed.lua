#!lua flags=allow-oom
-- Removes the children that a job still waits for, and theirs: those that nobody processes and that
-- have not failed.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id
-- Returns  how many jobs were removed; -1 = there is no such job, -2 = more than FAMILY_MAX
--          descendants; both change nothing
-- Events   removed, of every job that was there; waiting, of a parent that is released
-- BullMQ layout: remove unprocessed children
--
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/remove.lua
-- include lib/family.lua
local base, id = KEYS[1], ARGV[4]
local job_key = base .. id

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'wait', 'waiting-children', 'active', 'events', 'meta', 'marker')
if redis.call('HLEN', job_key) == 0 then
  return -1
elseif not family_of(job_key, idle_children_of, count_waited_for) then
  return -2
end

local removed, is_known = 0, {[job_key] = true}
for _, child_key in ipairs(idle_children_of(job_key)) do
  local child_base, child_id = split_key(child_key)
  if not is_known[child_key] then
    removed = removed + remove_family(child_base, child_id, idle_children_of, is_known)
  end
end
return remember_reply(base, ARGV[2], ARGV[3], removed)
