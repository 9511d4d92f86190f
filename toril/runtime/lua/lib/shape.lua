-- Refuses to go on where a key of the queue has another type than it must have (a custom job id
-- such as `completed` does that): found before the first write, because Redis does not roll back.

local READ_OF = {
  wait = 'LLEN', active = 'LLEN',
  prioritized = 'ZCARD', delayed = 'ZCARD', completed = 'ZCARD', failed = 'ZCARD',
  marker = 'ZCARD', stalled = 'SCARD', events = 'XLEN', meta = 'HLEN',
  pc = 'STRLEN', limiter = 'STRLEN', id = 'STRLEN', paused = 'LLEN',
  ['metrics:completed'] = 'HLEN', ['metrics:completed:data'] = 'LLEN',
  ['metrics:failed'] = 'HLEN', ['metrics:failed:data'] = 'LLEN',
}

local function check_shape(base, ...)
  for _, name in ipairs({...}) do
    local reply = redis.pcall(READ_OF[name], base .. name)
    if type(reply) == 'table' and reply.err then
      error({err = 'WRONGTYPE the key ' .. base .. name .. ' has the wrong type for '
        .. READ_OF[name] .. '; a job id or a foreign program has taken it'})
    end
  end
end
