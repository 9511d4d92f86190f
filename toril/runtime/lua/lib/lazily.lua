-- What `build` returns, built when it is first asked for. Every call of a script builds every function
-- that it passes by, at a tenth of a microsecond each: pieces that few calls need are included inside
-- such a function, after all that the script includes for itself.
local function lazily(build)
  local built
  return function()
    built = built or build()
    return built
  end
end
