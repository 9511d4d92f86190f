#!lua
-- Adds a line to a job's log; the newest so many stay as the caller says, else as the job's option
-- `keepLogs` does, of which 0 is no limit, as in BullMQ.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), nonce, name of the request, id, line, keep_logs or ''
-- Returns  how many lines there are now; -1 = there is no such job, nothing changed
-- Events   none
-- BullMQ layout: add log
--
-- include lib/number.lua
-- include lib/once.lua
local BEYOND_ANY_END = 9007199254740991

local base, id = KEYS[1], ARGV[4]
local key = base .. id .. ':logs'

local before = remembered_reply(base, ARGV[2], ARGV[3])
if before then
  return before
end
if redis.call('HLEN', base .. id) == 0 then
  return -1
end
redis.call('LLEN', key)
local keep = tonumber(ARGV[6])
if not keep then
  local ok, opts = pcall(cjson.decode, redis.call('HGET', base .. id, 'opts') or '')
  keep = ok and type(opts) == 'table' and number_of(opts.kl)
  keep = keep and keep >= 1 and keep
end

redis.call('RPUSH', key, ARGV[5])
if keep then
  -- `-0` is no index: keeping none is a list trimmed to beyond its end.
  keep = math.max(0, math.floor(keep))
  redis.call('LTRIM', key, keep == 0 and BEYOND_ANY_END or int(-keep), -1)
end
return remember_reply(base, ARGV[2], ARGV[3], redis.call('LLEN', key))
