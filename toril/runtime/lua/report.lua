#!lua
-- Stores what a running job said: new user bytes, so not allowed when the server is full.
-- BullMQ layout: update progress, add log, update data; here only for the lock's owner.
--
-- KEYS[1]  base
-- ARGV     now_ms (unused), id, token, keep_logs or '', number of this report in the attempt,
--          log lines of the attempt before it, progress (JSON) or '', data (JSON) or '',
--          stack or '', checkpoint (JSON) or '', log lines...
-- Returns  'done' | 'lost' (the lock is not ours: nothing is written) | 'gone'
--          The same number again (its reply was lost), with more said meanwhile or not: what is
--          stored already is not stored twice. `t:said` = token, number, log lines so far.
-- Events   progress
--
-- include lib/events.lua
-- include lib/shape.lua
local FIRST_LINE = 11

local base, id, token, keep_logs = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local number, lines_before = tonumber(ARGV[5]), tonumber(ARGV[6])
local progress, data, stack, checkpoint = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
if redis.call('EXISTS', base .. id) == 0 then
  return 'gone'
elseif redis.call('GET', base .. id .. ':lock') ~= token then
  return 'lost'
end
check_shape(base, 'events', 'meta')
local fields = redis.call('HMGET', base .. id, 't:said', 'progress')
redis.call('LLEN', base .. id .. ':logs')
local said, last, lines = (fields[1] or ''):match('^(.*) (%d+) (%d+)$')
local is_repeat = said == token and tonumber(last) >= number
local stored = is_repeat and tonumber(lines) - lines_before or 0

if progress ~= '' and not (is_repeat and fields[2] == progress) then
  redis.call('HSET', base .. id, 'progress', progress)
  emit_trimmed(base, 'progress', 'jobId', id, 'data', progress)
end
for i = FIRST_LINE + stored, #ARGV do
  redis.call('RPUSH', base .. id .. ':logs', ARGV[i])
end
if #ARGV >= FIRST_LINE and keep_logs ~= '' then
  -- `-0` is no index: keeping none is a list trimmed to beyond its end.
  local first = keep_logs == '0' and 9007199254740991 or '-' .. keep_logs
  redis.call('LTRIM', base .. id .. ':logs', first, -1)
end
if data ~= '' then
  redis.call('HSET', base .. id, 'data', data)
end
if stack ~= '' then
  redis.call('HSET', base .. id, 't:stack', stack)
end
if checkpoint ~= '' then
  redis.call('HSET', base .. id, 't:checkpoint', checkpoint)
end
local all = lines_before + math.max(stored, #ARGV - FIRST_LINE + 1)
redis.call('HSET', base .. id, 't:said', token .. ' ' .. number .. ' ' .. all)
return 'done'
