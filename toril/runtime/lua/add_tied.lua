#!lua
-- Adds jobs of which some have a parent that is there, or a deduplication id; the others as `add.lua`
-- does. A key of the wrong type refuses all of them, a parent only its own child.
--
-- KEYS[1]  base
-- ARGV     as for add.lua
-- Returns  {now_ms, id, word, id, word...} in the order of the jobs; word: added | duplicated |
--          deduplicated (the id is of the job that stands for it) | parent-gone |
--          parent-taken (a job of this id has another parent, that is there); the last two change
--          nothing, and their id is the parent's key.
--          The same call again (its reply was lost) gets the first one's answer, writes nothing.
-- Events   added, then waiting or delayed; duplicated; deduplicated, with a delayed owner that is
--          replaced: removed; of a parent whose child had completed: waiting or delayed
-- BullMQ layout: add standard, prioritized and delayed jobs, duplicate ids, deduplication, markers
--
-- include lib/once.lua
-- include lib/options.lua
-- include lib/dedup.lua
-- include lib/attach.lua
local FIRST_OPTION, JOB_WIDTH = 5, 4

local base, version = KEYS[1], ARGV[4]
local remembered = remembered_reply(base, ARGV[2], ARGV[3])
if remembered then
  return remembered
end

local now_ms = clock(ARGV[1])
local options, first_job = options_at(FIRST_OPTION, now_ms)
local counter = check_insert(base)
for at = first_job, #ARGV, JOB_WIDTH do
  counter = counter + 1
  check_type(base .. (ARGV[at] ~= '' and ARGV[at] or int(counter)), 'hash', 'job')
end
for _, how in ipairs(options) do
  check_ties(base, how.dedup, how.parent_key)
end

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

local function job_of(name, data, how)
  local job = {
    name = name, data = data, opts = how.opts, at_ms = tonumber(how.timestamp),
    delay_ms = tonumber(how.delay), priority = tonumber(how.priority), is_lifo = how.is_lifo,
  }
  if how.dedup ~= '' then
    job.dedup = cjson.decode(how.dedup)
    job.dedup_id = job.dedup.id
  end
  if how.parent_key ~= '' then
    job.parent_key, job.parent = how.parent_key, how.parent
    job.dependencies_key = how.parent_key .. ':dependencies'
  end
  return job
end

if version ~= '' then
  redis.call('HSET', base .. 'meta', 'version', version)
end
local reply = {int(now_ms)}
for at = first_job, #ARGV, JOB_WIDTH do
  local custom_id, name, data, number = unpack(ARGV, at, at + JOB_WIDTH - 1)
  local id, word = add(custom_id, job_of(name, data, options[tonumber(number)]))
  reply[#reply + 1], reply[#reply + 2] = id, word
end
return remember_reply(base, ARGV[2], ARGV[3], reply)
