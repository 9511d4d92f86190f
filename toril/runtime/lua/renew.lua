#!lua flags=allow-oom
-- Renews the locks of many jobs; retakes one that ran out if the job is still ours.
-- BullMQ layout: extend locks, bulk form.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused: a lock's time is relative), lock_ms, then id, token, ats of each job
-- Returns  {token...} of the jobs that are lost: another token, or not active, or started again
-- Events   none
--
-- include lib/own.lua
-- include lib/shape.lua
local base = KEYS[1]
check_shape(base, 'active', 'stalled')

local lost = {}
for i = 3, #ARGV, 3 do
  local id, token, ats = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = lock_state(base, id, token, ats)
  if state == 'held' or state == 'lapsed' then
    redis.call('SET', base .. id .. ':lock', token, 'PX', ARGV[2])
    redis.call('SREM', base .. 'stalled', id)
  else
    lost[#lost + 1] = token
  end
end
return lost
