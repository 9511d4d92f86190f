-- include lib/clock.lua
-- What the last attempts of a job came to: field t:history, one JSON object per line, newest last.

local HISTORY_MAX = 10

-- The field with one entry more. `entry`: JSON text of an object that is not empty; when the attempt
-- started and ended is put in front. A line holds no line break, because JSON text of ours holds none.
local function history_with(base, id, now_ms, entry)
  local fields = redis.call('HMGET', base .. id, 't:history', 'processedOn')
  local started_ms = (fields[2] or ''):match('^%d+$') or 'null'
  local lines = {}
  for line in (fields[1] or ''):gmatch('[^\n]+') do
    lines[#lines + 1] = line
  end
  lines[#lines + 1] = '{"started_ms":' .. started_ms .. ',"ended_ms":' .. int(now_ms) .. ','
    .. entry:sub(2)
  local first = math.max(1, #lines - HISTORY_MAX + 1)
  return table.concat(lines, '\n', first)
end
