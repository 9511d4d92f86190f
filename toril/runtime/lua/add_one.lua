#!lua
-- Adds one job that may run at once and has no ties: what most calls of `add` are. `add.lua` could add
-- it too, for half as much again of the server's time: here nothing is built that many jobs or other
-- kinds need, what meta says is read at once, and the last event trims the stream. The commands that
-- read are the check of types; what is wrong, and how to say so, is only asked when one of them fails.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the caller, name of the request (lib/once.lua), value for meta `version`
--          ('' = leave it), opts JSON, timestamp_ms ('' = now), 'lifo' or '', custom id or '', name,
--          data JSON
-- Returns  text, as add.lua: now_ms, number of the job (its id if it has no other), and 1 where it is a
--          duplicate.
--          The same request again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, waiting; duplicated
-- BullMQ layout: add standard jobs, duplicate ids, markers
--
-- include lib/once.lua
-- include lib/whole.lua
-- include lib/lazily.lua
-- What BullMQ sets where nothing is set.
local USUAL_MAX_EVENTS = '10000'

local base, version, opts, timestamp = KEYS[1], ARGV[4], ARGV[5], ARGV[6]
local custom_id, name, data = ARGV[8], ARGV[9], ARGV[10]
local wait, events, marker = base .. 'wait', base .. 'events', base .. 'marker'

local remembered = remembered_reply(base, ARGV[2], ARGV[3])
if remembered then
  return remembered
end

local rarely = lazily(function()
  -- include lib/shape.lua
  -- include lib/type.lua
  -- include lib/meta.lua
  return {
    check_shape = check_shape, check_type = check_type, is_gated_by = is_gated_by,
    max_events_of = max_events_of,
  }
end)

-- The last number, the stream's length as far as one is set, and whether nobody may fetch.
local function read()
  redis.call('LLEN', wait)
  redis.call('ZCARD', marker)
  redis.call('XLEN', events)
  local meta = redis.call('HMGET', base .. 'meta', 'opts.maxLenEvents', 'paused', 'concurrency')
  local is_gated = (meta[2] or meta[3]) and rarely().is_gated_by(base, meta[2], meta[3])
  return redis.call('GET', base .. 'id'), meta[1], is_gated
end

local is_sound, last, max_length, is_gated = pcall(read)
if not is_sound or not is_counter(last) then
  rarely().check_shape(base, 'id', 'wait', 'marker', 'events', 'meta', 'active')
  error(last)
end
local number = int((last or 0) + 1)
local id = custom_id ~= '' and custom_id or number
local key = base .. id
local is_there = redis.call('EXISTS', key) == 1 and rarely().check_type(key, 'hash', 'job')
local now_ms = int(clock(ARGV[1]))
local reply = now_ms .. ' ' .. number

redis.call('INCR', base .. 'id')
if version ~= '' then
  redis.call('HSET', base .. 'meta', 'version', version)
end
if max_length ~= USUAL_MAX_EVENTS then
  max_length = rarely().max_events_of(base, max_length)
end
if custom_id ~= '' and is_there then
  redis.call('XADD', events, 'MAXLEN', '~', max_length, '*', 'event', 'duplicated', 'jobId', id)
  return remember_reply(base, ARGV[2], ARGV[3], reply .. ' 1')
end
redis.call(
  'HSET', key, 'name', name, 'data', data, 'opts', opts,
  'timestamp', timestamp ~= '' and timestamp or now_ms, 'delay', '0', 'priority', '0'
)
redis.call('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', name)
redis.call(ARGV[7] == 'lifo' and 'RPUSH' or 'LPUSH', wait, id)
redis.call('XADD', events, 'MAXLEN', '~', max_length, '*', 'event', 'waiting', 'jobId', id)
if not is_gated then
  redis.call('ZADD', marker, 0, '0')
end
return remember_reply(base, ARGV[2], ARGV[3], reply)
