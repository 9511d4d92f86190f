#!lua flags=allow-oom
-- Keeps the record of a supervisor for a while, and its place among those of the queue.
--
-- A full server takes it too: it replaces what the last beat left, and is bounded.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the supervisor, its record (JSON), for how long in ms
-- Returns  'done'
-- Events   none
--
-- include lib/clock.lua
local index = KEYS[1] .. 'toril:fleet'
local now_ms = clock(ARGV[1])
local lives_ms = tonumber(ARGV[4])

redis.call('ZREMRANGEBYSCORE', index, '-inf', int(now_ms - lives_ms))
redis.call('ZADD', index, int(now_ms), ARGV[2])
redis.call('PEXPIRE', index, lives_ms)
redis.call('SET', index .. ':' .. ARGV[2], ARGV[3], 'PX', lives_ms)
return 'done'
