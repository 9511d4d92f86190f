#!lua
-- Adds one job that may run at once and has no ties, as most are, for half of add.lua's time: nothing is
-- built that other jobs need, and no key is read only to see whether it may be written. The first write
-- that a key's type forbids tells, and what was written until then is taken back (a counter at 0 goes).
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
-- include lib/once.lua
-- What BullMQ sets where nothing is set.
local USUAL_MAX_EVENTS = '10000'
-- Refused by whoever asks whether it is a count (lib/whole.lua).
local NO_COUNT = 1e17

local base, name, version, timestamp = KEYS[1], ARGV[5], ARGV[7] or '', ARGV[8] or ''
local is_lifo, custom_id = ARGV[9] == 'lifo', ARGV[10] or ''
local counter, wait, events, marker = base .. 'id', base .. 'wait', base .. 'events', base .. 'marker'
-- What was written so far: the replies to INCR, HSET, push and ZADD; where, and over what.
local number, made, pushed, marked, key, is_there

local remembered = remembered_reply(base, ARGV[2], ARGV[3])
if remembered then return remembered end

-- What few calls need, in one function: every one that is built costs every call.
local function rarely()
  -- include lib/shape.lua
  -- include lib/meta.lua
  local function refuse(trouble)
    if marked == 1 then redis.call('ZREM', marker, '0') end
    if tonumber(pushed) then redis.call(is_lifo and 'RPOP' or 'LPOP', wait) end
    if tonumber(made) and not is_there then redis.call('DEL', key) end
    if tonumber(number) then redis.call(number == 1 and 'DEL' or 'DECR', counter) end
    check_shape(base, 'id', 'wait', 'marker', 'events')
    error({err = trouble})
  end
  -- A hash that is there is written over, and nothing brings it back: all types are looked at before.
  local function check_before(kind)
    if kind ~= 'hash' then
      refuse('WRONGTYPE the key ' .. key .. ' is no job but a ' .. kind)
    end
    local trouble = misshapen(base, 'wait', 'marker', 'events')
    if trouble then refuse(trouble) end
  end
  -- Whether nobody may fetch, by what meta says.
  local function is_gated_in(meta)
    local is_known, is_gated = pcall(is_gated_by, base, meta[2], meta[3])
    check_shape(base, 'meta', 'active', 'marker')
    if meta.err or not is_known then error(meta.err and meta or is_gated) end
    return is_gated
  end
  return {refuse = refuse, check_before = check_before, is_gated_in = is_gated_in, max_events = max_events_of}
end

local meta = redis.pcall('HMGET', base .. 'meta', 'opts.maxLenEvents', 'paused', 'concurrency')
local is_gated = (meta.err or meta[2] or meta[3]) and rarely().is_gated_in(meta)
local now_ms = int(clock(ARGV[1]))
number = redis.pcall('INCR', counter)
if type(number) == 'table' or math.abs(number) >= NO_COUNT then
  rarely().refuse(type(number) == 'table' and number.err or 'ERR ' .. counter .. ' counts no further')
end
local id = custom_id ~= '' and custom_id or int(number)
key = base .. id
is_there = redis.call('EXISTS', key) == 1
if is_there then rarely().check_before(redis.call('TYPE', key).ok) end

local is_duplicate, told = is_there and custom_id ~= '', nil
if is_duplicate then
  told = redis.pcall('XADD', events, '*', 'event', 'duplicated', 'jobId', id)
else
  made = redis.pcall(
    'HSET', key, 'name', name, 'data', ARGV[6], 'opts', ARGV[4],
    'timestamp', timestamp ~= '' and timestamp or now_ms, 'delay', '0', 'priority', '0'
  )
  pushed = tonumber(made) and redis.pcall(is_lifo and 'RPUSH' or 'LPUSH', wait, id)
  marked = tonumber(pushed) and (is_gated and 0 or redis.pcall('ZADD', marker, '0', '0'))
  told = tonumber(marked) and redis.pcall('XADD', events, '*', 'event', 'added', 'jobId', id, 'name', name)
end
if type(told) ~= 'string' then
  rarely().refuse((told or marked or pushed or made).err)
end

-- From here on no key's type refuses anything.
local max_length = meta[1] == USUAL_MAX_EVENTS and meta[1] or rarely().max_events(base, meta[1])
if version ~= '' then redis.call('HSET', base .. 'meta', 'version', version) end
local reply = now_ms .. ' ' .. int(number)
if is_duplicate then
  redis.call('XTRIM', events, 'MAXLEN', '~', max_length)
  return remember_reply(base, ARGV[2], ARGV[3], reply .. ' 1')
end
redis.call('XADD', events, 'MAXLEN', '~', max_length, '*', 'event', 'waiting', 'jobId', id)
return remember_reply(base, ARGV[2], ARGV[3], reply)
