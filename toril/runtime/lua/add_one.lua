#!lua
-- Adds one job that may run at once and has no ties, as most are, for half of add.lua's time: nothing is
-- built that other jobs need, and no key is read only to see whether it may be written. The first write
-- that a key's type forbids tells; what was written until then is taken back, and all of it can be.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the caller, name of the request (lib/once.lua), opts JSON, name, data JSON;
--          then, where one of them is needed: value for meta `version` ('' = leave it), timestamp_ms
--          ('' = now), 'lifo' or '', custom id or ''
-- Returns  text, as add.lua: now_ms, number of the job (its id if it has no other), and 1 where it is a
--          duplicate.
--          The same request again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, waiting; duplicated
-- BullMQ layout: add standard jobs, duplicate ids, markers
--
-- include lib/clock.lua
-- include lib/memory.lua
-- What BullMQ sets where nothing is set.
local USUAL_MAX_EVENTS = '10000'
-- From here on a number is not exact any more, and two jobs would get one id.
local END_OF_NUMBERS = 2 ^ 53

local base, request, name = KEYS[1], ARGV[3], ARGV[5]
local is_lifo, custom_id = ARGV[9] == 'lifo', ARGV[10] or ''
local counter, wait, events, marker = base .. 'id', base .. 'wait', base .. 'events', base .. 'marker'
local memory = ARGV[2] ~= '' and base .. 'toril:last:' .. ARGV[2]
-- What was written: the job's number, what `memory` held before (false for nothing), …
local number, remembered, pushed, marked

-- What few calls need, in one function: every one that is built costs every call.
local function rarely()
  -- include lib/shape.lua
  -- include lib/meta.lua
  local function take_back()
    if marked == 1 then redis.call('ZREM', marker, '0') end
    if tonumber(pushed) then redis.call(is_lifo and 'RPOP' or 'LPOP', wait) end
    if remembered then redis.call('SET', memory, remembered, 'PX', REMEMBER_REQUEST_MS) end
    if remembered == false then redis.call('DEL', memory) end
    if tonumber(number) then redis.call(number == 1 and 'DEL' or 'DECR', counter) end
  end
  local function refuse(trouble)
    take_back()
    check_shape(base, 'id', 'wait', 'marker', 'events')
    error({err = trouble})
  end
  return {
    take_back = take_back, refuse = refuse, check_shape = check_shape, is_gated_by = is_gated_by,
    max_events_of = max_events_of,
  }
end

local meta = redis.pcall('HMGET', base .. 'meta', 'opts.maxLenEvents', 'paused', 'concurrency')
local max_length, is_gated = meta[1], false
if meta.err or meta[2] or meta[3] then
  rarely().check_shape(base, 'meta', 'active')
  is_gated = rarely().is_gated_by(base, meta[2], meta[3])
end
number = redis.pcall('INCR', counter)
if type(number) == 'table' or number >= END_OF_NUMBERS then
  rarely().refuse(type(number) == 'table' and number.err or 'ERR the key ' .. counter .. ' is at 2^53')
end
local digits, now_ms = int(number), int(clock(ARGV[1]))
local id = custom_id ~= '' and custom_id or digits
local key = base .. id
local is_there = redis.call('EXISTS', key) == 1
if is_there and redis.call('TYPE', key).ok ~= 'hash' then
  rarely().refuse('WRONGTYPE the key ' .. key .. ' is no job')
end
local is_duplicate = is_there and custom_id ~= ''
local reply = now_ms .. ' ' .. digits .. (is_duplicate and ' 1' or '')
if memory then
  local kept = request .. ' ' .. reply
  remembered = redis.call('SET', memory, kept, 'PX', REMEMBER_REQUEST_MS, 'GET')
  if remembered and remembered:sub(1, #request + 1) == request .. ' ' then
    rarely().take_back()
    return remembered:sub(#request + 2)
  end
end

local told
if is_duplicate then
  told = redis.pcall('XADD', events, '*', 'event', 'duplicated', 'jobId', id)
else
  pushed = redis.pcall(is_lifo and 'RPUSH' or 'LPUSH', wait, id)
  marked = tonumber(pushed) and (is_gated and 0 or redis.pcall('ZADD', marker, '0', '0'))
  told = tonumber(marked) and redis.pcall('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', name)
end
if type(told) ~= 'string' then rarely().refuse((told or marked or pushed).err) end
if (ARGV[7] or '') ~= '' then redis.call('HSET', base .. 'meta', 'version', ARGV[7]) end
if max_length ~= USUAL_MAX_EVENTS then max_length = rarely().max_events_of(base, max_length) end
if is_duplicate then
  redis.call('XTRIM', events, 'MAXLEN', '~', max_length)
  return reply
end
redis.call('XADD', events, 'MAXLEN', '~', max_length, '*', 'event', 'waiting', 'jobId', id)
redis.call(
  'HSET', key, 'name', name, 'data', ARGV[6], 'opts', ARGV[4],
  'timestamp', (ARGV[8] or '') ~= '' and ARGV[8] or now_ms, 'delay', '0', 'priority', '0'
)
return reply
