#!lua flags=allow-oom
-- Puts back a marker that was popped without a free child, so that another worker wakes up.
-- Written as the queue stands now: a base marker not while it is gated, a delay marker with the
-- first delayed job's time. BullMQ layout: markers.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), member ('0' | '1')
-- Returns  'done'
-- Events   none
--
-- include lib/marker.lua
if ARGV[2] == '0' then
  base_mark(KEYS[1])
else
  delay_mark(KEYS[1])
end
return 'done'
