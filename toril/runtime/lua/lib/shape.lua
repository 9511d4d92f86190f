-- include lib/whole.lua
-- Refuses to go on where a key of the queue has another type than it must have (a custom job id
-- such as `completed` does that): found before the first write, because Redis does not roll back.

local READ_OF = {
  wait = 'LLEN', active = 'LLEN',
  prioritized = 'ZCARD', delayed = 'ZCARD', completed = 'ZCARD', failed = 'ZCARD',
  ['waiting-children'] = 'ZCARD', marker = 'ZCARD', stalled = 'SCARD', events = 'XLEN', meta = 'HLEN',
  pc = 'GET', limiter = 'GET', id = 'GET', paused = 'LLEN',
  ['metrics:completed'] = 'HLEN', ['metrics:completed:data'] = 'LLEN',
  ['metrics:failed'] = 'HLEN', ['metrics:failed:data'] = 'LLEN',
}

-- What is wrong with the first of these keys that has another shape, nil where all are well; and what
-- was read of them, by name: lengths, and the counters' values.
local function misshapen(base, ...)
  local found = {}
  for _, name in ipairs({...}) do
    local reply = redis.pcall(READ_OF[name], base .. name)
    if type(reply) == 'table' and reply.err then
      return 'WRONGTYPE the key ' .. base .. name .. ' has the wrong type for ' .. READ_OF[name]
        .. '; a job id or a foreign program has taken it'
    elseif READ_OF[name] == 'GET' and not is_counter(reply) then
      return 'WRONGTYPE the key ' .. base .. name .. ' is no integer; '
        .. 'a foreign program has written it'
    end
    found[name] = reply
  end
  return nil, found
end

local function check_shape(base, ...)
  local trouble, found = misshapen(base, ...)
  if trouble then
    error({err = trouble})
  end
  return found
end
