#!lua
-- Adds jobs: runnable, last in first out, prioritized or delayed. All or, on a refusal, none.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the caller, number of its batch, number of this call in the batch,
--          value for meta `version` ('' = leave it), then eight for each job: custom id or '',
--          name, data JSON, opts JSON, timestamp_ms ('' = now), delay_ms, priority, 'lifo' or ''
-- Returns  {now_ms, id, word, id, word...} in the order of the jobs; word: added | duplicated
--          The same call again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, then waiting or delayed; duplicated
-- BullMQ layout: add standard, prioritized and delayed jobs, duplicate ids, markers
--
-- include lib/clock.lua
-- include lib/shape.lua
-- include lib/events.lua
-- include lib/enqueue.lua
local REMEMBER_MS = 300000
local FIRST_JOB, JOB_WIDTH = 6, 8

local base, version = KEYS[1], ARGV[5]
local memory, batch, call = base .. 'toril:last:' .. ARGV[2], ARGV[3], 'call:' .. ARGV[4]

local remembered = redis.call('HMGET', memory, 'batch', call)
if remembered[1] == batch and remembered[2] then
  return cmsgpack.unpack(remembered[2])
end

check_shape(
  base, 'id', 'wait', 'active', 'prioritized', 'delayed', 'marker', 'events', 'meta', 'pc'
)
local counter = tonumber(redis.call('GET', base .. 'id') or '0')
for at = FIRST_JOB, #ARGV, JOB_WIDTH do
  counter = counter + 1
  local key = base .. (ARGV[at] ~= '' and ARGV[at] or int(counter))
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= 'hash' then
    return redis.error_reply('WRONGTYPE the key ' .. key .. ' is no job but a ' .. kind)
  end
end

local function enqueue(id, at_ms, delay_ms, priority, lifo)
  if delay_ms > 0 then
    local due_ms = at_ms + delay_ms
    redis.call('ZADD', base .. 'delayed', int(delayed_score(base, due_ms)), id)
    emit_trimmed(base, 'delayed', 'jobId', id, 'delay', int(due_ms))
    return delay_mark(base)
  elseif priority > 0 then
    push_prio(base, priority, id)
  elseif lifo then
    push_tail(base, id)
  else
    push_head(base, id)
  end
  emit_trimmed(base, 'waiting', 'jobId', id)
end

local now_ms = clock(ARGV[1])

local function add(custom_id, name, data, opts, timestamp, delay, priority, lifo)
  local id = int(redis.call('INCR', base .. 'id'))
  max_events(base)
  if custom_id ~= '' then
    id = custom_id
    if redis.call('EXISTS', base .. id) == 1 then
      emit_trimmed(base, 'duplicated', 'jobId', id)
      return id, 'duplicated'
    end
  end
  local at_ms = timestamp == '' and int(now_ms) or timestamp
  redis.call(
    'HSET', base .. id, 'name', name, 'data', data, 'opts', opts,
    'timestamp', at_ms, 'delay', delay, 'priority', priority
  )
  emit(base, 'added', 'jobId', id, 'name', name)
  enqueue(id, tonumber(at_ms), tonumber(delay), tonumber(priority), lifo == 'lifo')
  return id, 'added'
end

if version ~= '' then
  redis.call('HSET', base .. 'meta', 'version', version)
end
local reply = {int(now_ms)}
for at = FIRST_JOB, #ARGV, JOB_WIDTH do
  local id, word = add(unpack(ARGV, at, at + JOB_WIDTH - 1))
  reply[#reply + 1], reply[#reply + 2] = id, word
end

if remembered[1] ~= batch then
  redis.call('DEL', memory)
end
redis.call('HSET', memory, 'batch', batch, call, cmsgpack.pack(reply))
redis.call('PEXPIRE', memory, REMEMBER_MS)
return reply
