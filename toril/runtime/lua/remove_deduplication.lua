#!lua flags=allow-oom
-- Releases a deduplication id before its time.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), deduplication id, id of the job that must own it ('' = whoever does)
-- Returns  'done' | 'gone' (nobody owns it, or another job); 'gone' changes nothing
-- Events   none
-- BullMQ layout: remove deduplication key
--
local key, owner = KEYS[1] .. 'de:' .. ARGV[2], ARGV[3]
if owner ~= '' and redis.pcall('GET', key) ~= owner then
  return 'gone'
end
return redis.call('DEL', key) == 1 and 'done' or 'gone'
