#!lua flags=allow-oom
-- Renews the locks of many jobs; retakes one that ran out if the job is still ours.
-- BullMQ layout: extend locks, bulk form.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused: a lock's time is relative), lock_ms, then id, token, ats of each job
-- Returns  {{token...} lost: another token, or not active, or started again;
--          {token...} ours and cancelled: a wish of cancel.lua}
-- Events   none
--
-- include lib/own.lua
-- include lib/shape.lua
local base = KEYS[1]
check_shape(base, 'active', 'stalled')

local lost, cancelled = {}, {}
for i = 3, #ARGV, 3 do
  local id, token, ats = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local state = lock_state(base, id, token, ats)
  if state == 'held' or state == 'lapsed' then
    redis.call('SET', base .. id .. ':lock', token, 'PX', ARGV[2])
    redis.call('SREM', base .. 'stalled', id)
    if redis.pcall('HEXISTS', base .. id, 't:cancel') == 1 then
      cancelled[#cancelled + 1] = token
    end
  else
    lost[#lost + 1] = token
  end
end
return {lost, cancelled}
