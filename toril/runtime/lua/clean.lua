#!lua flags=allow-oom
-- Removes jobs of one state that are older than a grace, CLEAN_MAX looked at per call. Active ones
-- only without a lock; the job that carries a schedule on stays, unless it has finished.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce, name of the request, set or list (`wait`, `failed` …), latest_ms ('' =
--          now minus grace_ms), grace_ms, most to remove ('' = all), removed by earlier calls,
--          cursor (jobs that earlier calls have left; 0 at first)
-- Returns  {word, latest_ms, cursor, {id…} removed}; word: 'done' | 'more' (ask again)
-- Events   cleaned, with the last call: how many all calls removed
-- BullMQ layout: clean
--
-- include lib/clock.lua
-- include lib/once.lua
-- include lib/shape.lua
-- include lib/remove.lua
-- include lib/clean.lua
local base, name = KEYS[1], ARGV[4]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
check_shape(base, 'events', 'meta', 'marker', 'wait')
local latest_ms = tonumber(ARGV[5]) or clock(ARGV[1]) - tonumber(ARGV[6])
local removed_before, cursor = tonumber(ARGV[8]), tonumber(ARGV[9])
local most = math.min(CLEAN_MAX, (tonumber(ARGV[7]) or math.huge) - removed_before)

local ids = old_jobs(base, name, latest_ms, cursor)
local gone, seen, kept = {}, 0, 0
for at, id in ipairs(ids) do
  if #gone >= most then
    break
  end
  seen = seen + 1
  local ties = ties_of(base, id)
  if may_clean(base, name, id, ties, latest_ms) then
    remove_hard(base, id, ties)
    gone[#gone + 1] = {id, at}
  else
    kept = kept + 1
  end
end
take_out(base, name, gone, cursor)

local removed = {}
for i, pair in ipairs(gone) do
  removed[i] = pair[1]
end
local is_done = #ids < CLEAN_MAX and seen == #ids
  or tonumber(ARGV[7]) and removed_before + #removed >= tonumber(ARGV[7])
if is_done then
  emit(base, 'cleaned', 'count', int(removed_before + #removed))
end
local reply = {is_done and 'done' or 'more', int(latest_ms), int(cursor + kept), removed}
return remember_reply(base, ARGV[2], ARGV[3], reply)
