-- Decides for a whole batch how many units may go now, over all its limits at once.
--
-- KEYS[i]            state of limit i (see mailer/limits/__init__.py for the names)
-- ARGV[1]            units wanted
-- ARGV[2i], [2i+1]   limit i: units, seconds
-- returns            {granted, milliseconds until at least one more unit may go}
--
-- A limit over up to a minute is a leaky bucket (GCRA): the key holds the time at which the bucket
-- would be empty. It may run ahead by a tenth of a second's worth, at least by one unit: that is
-- the burst. A longer limit is a quota: units are counted in 100 slices of its length, and all
-- slices that touch the rolling window count in full, so no window ever holds more than the limit.
--
-- Time is the server's, in microseconds. Every key expires by itself.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local granted = tonumber(ARGV[1])
local wait = 0

local function bucket(key, units, length)
  local step = length / units
  local ahead = math.max(100000, step)
  local full = math.max(tonumber(redis.call('GET', key) or 0), now)
  local room = math.floor((now + ahead - full) / step + 1e-6)
  local pause = full + step - ahead - now
  return room, math.max(pause, 0), function(taken)
    redis.call('SET', key, string.format('%.0f', full + taken * step), 'PX',
      math.ceil((full + taken * step - now) / 1000) + 1000)
  end
end

local function quota(key, units, length)
  local slice = length / 100
  local current = math.floor(now / slice)
  local used, oldest, stale = 0, nil, {}
  local counts = redis.call('HGETALL', key)
  for i = 1, #counts, 2 do
    local at = tonumber(counts[i])
    if at < current - 100 then
      stale[#stale + 1] = counts[i]
    else
      used = used + tonumber(counts[i + 1])
      if not oldest or at < oldest then oldest = at end
    end
  end
  local pause = oldest and (oldest + 101) * slice - now or 0
  return units - used, math.max(pause, 0), function(taken)
    if #stale > 0 then redis.call('HDEL', key, unpack(stale)) end
    redis.call('HINCRBY', key, string.format('%.0f', current), taken)
    redis.call('PEXPIRE', key, math.ceil(length / 1000 * 1.02))
  end
end

local commits = {}
for i, key in ipairs(KEYS) do
  local units = tonumber(ARGV[2 * i])
  local length = tonumber(ARGV[2 * i + 1]) * 1000000
  local kind = length <= 60000000 and bucket or quota
  local room, pause, commit = kind(key, units, length)
  if room < granted then
    granted = math.max(room, 0)
    wait = math.max(wait, pause)
  end
  commits[i] = commit
end
if granted > 0 then
  for _, commit in ipairs(commits) do commit(granted) end
end
return {granted, math.ceil(wait / 1000)}
