#!lua
-- Adds jobs without ties: runnable, last in first out, prioritized or delayed. `add_tied.lua` adds
-- those with a parent or a deduplication id; it could add these too, for more of the server's time:
-- here what concerns the queue and not one job (settings, marker, counter, trimming) is done once.
-- A key of the wrong type refuses the whole call.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the caller, name of the request (lib/once.lua), value for meta `version`
--          ('' = leave it), options (lib/options.lua); then for each job custom id or '', name, data
--          JSON, which of the options (from 1)
-- Returns  text: now_ms, number of the first job, and the places of duplicates in the call (from 1).
--          Each job uses up a number, which is its id if it has no other.
--          The same request again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, then waiting or delayed; duplicated
-- BullMQ layout: add standard, prioritized and delayed jobs, duplicate ids, markers
--
-- include lib/once.lua
-- include lib/options.lua
-- include lib/shape.lua
-- include lib/type.lua
-- include lib/enqueue.lua
local FIRST_OPTION, JOB_WIDTH = 5, 4

local base, version = KEYS[1], ARGV[4]
local remembered = remembered_reply(base, ARGV[2], ARGV[3])
if remembered then
  return remembered
end

local now_ms = clock(ARGV[1])
local options, first_job = options_at(FIRST_OPTION, now_ms)
check_shape(base, 'id', 'wait', 'active', 'marker', 'events', 'meta')
local is_plain = true
for _, how in ipairs(options) do
  is_plain = is_plain and how.delay == '0' and how.priority == '0'
end
if not is_plain then
  check_shape(base, 'prioritized', 'delayed', 'pc')
end

local jobs = (#ARGV - first_job + 1) / JOB_WIDTH
local first = tonumber(redis.call('GET', base .. 'id') or '0') + 1
local keys = {}
for n = 1, jobs do
  local custom_id = ARGV[first_job + JOB_WIDTH * (n - 1)]
  keys[n] = base .. (custom_id ~= '' and custom_id or int(first + n - 1))
end
local taken = jobs_among(keys)
local reply, heads, marks = int(now_ms) .. ' ' .. int(first), {}, {}

local function place(id, how)
  if how.delay ~= '0' then
    local due_ms = tonumber(how.timestamp) + tonumber(how.delay)
    redis.call('ZADD', base .. 'delayed', int(delayed_score(base, due_ms)), id)
    marks.is_delayed = true
    return emit(base, 'delayed', 'jobId', id, 'delay', int(due_ms))
  elseif how.priority ~= '0' then
    put_prioritized(base, tonumber(how.priority), id)
  elseif how.is_lifo then
    redis.call('RPUSH', base .. 'wait', id)
  else
    heads[#heads + 1] = id
  end
  marks.is_runnable = true
  emit(base, 'waiting', 'jobId', id)
end

redis.call('INCRBY', base .. 'id', jobs)
if version ~= '' then
  redis.call('HSET', base .. 'meta', 'version', version)
end
for n, key in ipairs(keys) do
  local at = first_job + JOB_WIDTH * (n - 1)
  local custom_id, name, data, number = unpack(ARGV, at, at + JOB_WIDTH - 1)
  local id, how = key:sub(#base + 1), options[tonumber(number)]
  if custom_id ~= '' and taken[key] then
    emit(base, 'duplicated', 'jobId', id)
    reply = reply .. ' ' .. n
  else
    taken[key] = true
    redis.call(
      'HSET', key, 'name', name, 'data', data, 'opts', how.opts, 'timestamp', how.timestamp,
      'delay', how.delay, 'priority', how.priority
    )
    emit(base, 'added', 'jobId', id, 'name', name)
    place(id, how)
  end
end
trim_events(base)
if #heads > 0 then
  redis.call('LPUSH', base .. 'wait', unpack(heads))
end
if marks.is_delayed then
  delay_mark(base)
end
if marks.is_runnable then
  base_mark(base)
end
return remember_reply(base, ARGV[2], ARGV[3], reply)
