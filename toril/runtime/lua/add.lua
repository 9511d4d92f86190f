#!lua
-- Adds jobs: runnable, last in first out, prioritized or delayed; alone or as children of a job that
-- is there. A key of the wrong type refuses all of them, a parent only its own child.
--
-- KEYS[1]  base
-- ARGV     now_ms, nonce of the caller, number of its batch, number of this call in the batch,
--          value for meta `version` ('' = leave it), then eleven for each job: custom id or '',
--          name, data JSON, opts JSON, timestamp_ms ('' = now), delay_ms, priority, 'lifo' or '',
--          deduplication JSON or '', full key of its parent or '', parent JSON or ''
-- Returns  {now_ms, id, word, id, word...} in the order of the jobs; word: added | duplicated |
--          deduplicated (the id is of the job that stands for it) | parent-gone |
--          parent-taken (a job of this id has another parent, that is there); the last two change
--          nothing, and their id is the parent's key.
--          The same call again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, then waiting or delayed; duplicated; deduplicated, with a delayed owner that is
--          replaced: removed; of a parent whose child had completed: waiting or delayed
-- BullMQ layout: add standard, prioritized and delayed jobs, duplicate ids, deduplication, markers
--
-- include lib/clock.lua
-- include lib/dedup.lua
-- include lib/attach.lua
local REMEMBER_MS = 300000
local FIRST_JOB, JOB_WIDTH = 6, 11

local base, version = KEYS[1], ARGV[5]
local memory, batch, call = base .. 'toril:last:' .. ARGV[2], ARGV[3], 'call:' .. ARGV[4]

local remembered = redis.call('HMGET', memory, 'batch', call)
if remembered[1] == batch and remembered[2] then
  return cmsgpack.unpack(remembered[2])
end

local counter = check_insert(base)
for at = FIRST_JOB, #ARGV, JOB_WIDTH do
  counter = counter + 1
  check_type(base .. (ARGV[at] ~= '' and ARGV[at] or int(counter)), 'hash', 'job')
  check_ties(base, ARGV[at + 8], ARGV[at + 9])
end

local now_ms = clock(ARGV[1])

local function add(custom_id, job)
  local is_there = custom_id ~= '' and redis.call('EXISTS', base .. custom_id) == 1
  if job.parent_key and redis.call('EXISTS', job.parent_key) == 0 then
    return job.parent_key, 'parent-gone'
  elseif job.parent_key and is_there and not is_free_for(base, custom_id, job.parent_key) then
    return redis.call('HGET', base .. custom_id, 'parentKey'), 'parent-taken'
  end
  local id = int(redis.call('INCR', base .. 'id'))
  max_events(base)
  id = custom_id ~= '' and custom_id or id
  if is_there then
    if job.parent_key then
      attach(base, id, job, now_ms)
    end
    emit_trimmed(base, 'duplicated', 'jobId', id)
    return id, 'duplicated'
  end
  local owner = job.dedup and deduplicate(base, id, job)
  if owner then
    return owner, 'deduplicated'
  end
  insert_job(base, id, job)
  if job.parent_key then
    note_child(parent_of(job.parent_key, job.parent))
  end
  return id, 'added'
end

local function job_from_args(_, name, data, opts, at, delay, priority, lifo, dedup, parent_key, told)
  local job = {
    name = name, data = data, opts = opts, at_ms = tonumber(at) or now_ms,
    delay_ms = tonumber(delay), priority = tonumber(priority), is_lifo = lifo == 'lifo',
  }
  if dedup ~= '' then
    job.dedup = cjson.decode(dedup)
    job.dedup_id = job.dedup.id
  end
  if parent_key ~= '' then
    job.parent_key, job.parent = parent_key, told
    job.dependencies_key = parent_key .. ':dependencies'
  end
  return job
end

if version ~= '' then
  redis.call('HSET', base .. 'meta', 'version', version)
end
local reply = {int(now_ms)}
for at = FIRST_JOB, #ARGV, JOB_WIDTH do
  local id, word = add(ARGV[at], job_from_args(unpack(ARGV, at, at + JOB_WIDTH - 1)))
  reply[#reply + 1], reply[#reply + 2] = id, word
end

if remembered[1] ~= batch then
  redis.call('DEL', memory)
end
redis.call('HSET', memory, 'batch', batch, call, cmsgpack.pack(reply))
redis.call('PEXPIRE', memory, REMEMBER_MS)
return reply
