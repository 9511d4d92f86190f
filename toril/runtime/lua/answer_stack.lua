#!lua
-- Hands the Python stack of a running job to whoever asked for it; it waits a minute to be fetched.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce of the question, text
-- Returns  'done'
-- Events   none
--
local KEPT_MS = 60000

local key = KEYS[1] .. 'toril:stack:' .. ARGV[2]
redis.call('DEL', key)
redis.call('RPUSH', key, ARGV[3])
redis.call('PEXPIRE', key, KEPT_MS)
return 'done'
