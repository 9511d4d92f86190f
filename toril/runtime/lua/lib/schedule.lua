-- include lib/clock.lua
-- include lib/number.lua
-- include lib/events.lua
-- include lib/insert.lua
-- include lib/remove.lua
-- The next iteration of a schedule. A scheduler owns one current job, `repeat:<scheduler>:<ms>` with
-- the ms of its score in `repeat`; whoever claims that job adds the next one, and nobody else does.
-- What a foreign program has left in a key's place ends the schedule, never the claim.

-- BullMQ's slot of an interval: the next after `last_ms`, or, where slots were missed, after now.
local function interval_slot(last_ms, every_ms, offset_ms, now_ms)
  local next_ms = last_ms + every_ms
  if next_ms < now_ms then
    local slot_ms = math.floor(now_ms / every_ms) * every_ms + offset_ms
    next_ms = slot_ms > now_ms and slot_ms or slot_ms + every_ms
  end
  return math.floor(next_ms)
end

-- An entry of BullMQ v5's repeatable jobs under its old name; without `ic` it is no scheduler.
local function is_legacy(scheduler, count)
  local rest = not count and scheduler:match('^[^:]*:[^:]*:%d*:[^:]*:(.*)$')
  return rest and (rest:match('^%d+$') or rest:find(' ', 1, true)) and true or false
end

local function read_scheduler(base, scheduler)
  local fields = redis.pcall(
    'HMGET', base .. 'repeat:' .. scheduler, 'name', 'data', 'every', 'offset', 'ic'
  )
  if fields.err or is_legacy(scheduler, fields[5]) then
    return nil
  end
  return {
    name = fields[1], data = fields[2], every_ms = number_of(fields[3]) or 0,
    offset_ms = number_of(fields[4]) or 0, count = number_of(fields[5]) or 0,
  }
end

local function is_over(wish, count, now_ms)
  local limit, end_ms = number_of(wish.limit), number_of(wish.endDate)
  return limit and count > limit or end_ms and end_ms < now_ms or false
end

-- The next job as it will be stored, complete before the first write; nil where its options cannot be
-- written again (1e999 can be read, and not be written).
local function planned_job(job, scheduler, opts, slot_ms, now_ms)
  local id, delay_ms = 'repeat:' .. job.rjk .. ':' .. int(slot_ms), math.max(slot_ms - now_ms, 0)
  opts.attempts = opts.attempts or 0
  opts.jobId, opts.delay, opts.timestamp, opts.repeatJobKey = id, delay_ms, now_ms, job.rjk
  local ok, text = pcall(cjson.encode, opts)
  local wish = type(opts.de) == 'table' and opts.de or {}
  return ok and {
    id = id, slot_ms = slot_ms, iterations = scheduler.count + 1, scheduler = job.rjk,
    name = scheduler.name or job.name or '', data = scheduler.data or '{}', opts = text,
    at_ms = now_ms, delay_ms = delay_ms, priority = number_of(opts.priority) or 0,
    is_lifo = opts.lifo == true, dedup_id = type(wish.id) == 'string' and wish.id or nil,
  } or nil
end

-- The successor of a job that is about to be claimed, as `insert_job` takes it, with id, slot_ms and
-- iterations; nil for a job that has none; 'ask' where the slot follows a cron pattern, which the
-- caller has to read: it comes again with `slot_ms` ('' = there is none) for the job `slot_of`.
local function plan_next(base, job, opts, now_ms, slot_of, slot_ms)
  if not is_current_iteration(base, job.id, job.rjk) then
    return nil
  end
  local wish = type(opts['repeat']) == 'table' and opts['repeat'] or {}
  local count = (number_of(wish.count) or 0) + 1
  local scheduler = read_scheduler(base, job.rjk)
  if not scheduler or is_over(wish, count, now_ms) then
    return nil
  end
  wish.count, wish.immediately, opts['repeat'] = count, nil, wish
  local every_ms = scheduler.every_ms ~= 0 and scheduler.every_ms or (number_of(wish.every) or 0)
  if every_ms > 0 then
    local last_ms = tonumber(redis.call('ZSCORE', base .. 'repeat', job.rjk))
    local next_ms = interval_slot(last_ms, every_ms, scheduler.offset_ms, now_ms)
    return planned_job(job, scheduler, opts, next_ms, now_ms)
  elseif slot_of ~= job.id then
    return 'ask'
  elseif slot_ms == '' then
    return nil
  end
  opts.prevMillis = tonumber(slot_ms)
  return planned_job(job, scheduler, opts, opts.prevMillis, now_ms)
end

local function add_planned(base, plan)
  if redis.call('EXISTS', base .. plan.id) == 1 then
    return emit_trimmed(base, 'duplicated', 'jobId', plan.id)
  end
  redis.call('ZADD', base .. 'repeat', int(plan.slot_ms), plan.scheduler)
  redis.call('HSET', base .. 'repeat:' .. plan.scheduler, 'ic', int(plan.iterations))
  redis.pcall('INCR', base .. 'id')
  insert_job(base, plan.id, plan)
end
