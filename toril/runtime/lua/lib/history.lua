-- include lib/clock.lua
-- What the last attempts of a job came to: field t:history, one JSON object per line, newest last.

local HISTORY_MAX = 10

-- The field with one entry more. `old`, `started_ms`: t:history and processedOn as they stand.
-- `entry`: JSON text of an object that is not empty; when the attempt started and ended is put in
-- front. A line holds no line break, because JSON text of ours holds none.
local function history_with(old, started_ms, now_ms, entry)
  local line = '{"started_ms":' .. ((started_ms or ''):match('^%d+$') or 'null') .. ',"ended_ms":'
    .. int(now_ms) .. ',' .. entry:sub(2)
  if not old then
    return line
  end
  local lines = {}
  for earlier in old:gmatch('[^\n]+') do
    lines[#lines + 1] = earlier
  end
  lines[#lines + 1] = line
  return table.concat(lines, '\n', math.max(1, #lines - HISTORY_MAX + 1))
end
