#!lua
-- Puts an event of the caller's own into the stream.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, most entries (about), event, then its fields:
--          name, value ...
-- Returns  the entry's id
-- Events   the one given
-- BullMQ layout: publish event
--
-- include lib/once.lua
local base = KEYS[1]

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
local id = redis.call(
  'XADD', base .. 'events', 'MAXLEN', '~', ARGV[4], '*', 'event', unpack(ARGV, 5)
)
return remember_reply(base, ARGV[2], ARGV[3], id)
