-- Reading points: value, source time and quality belong together.

-- A channel that never told how long its values stay fresh gets this long, ms.
local default_stale_after = 10000

-- read_points returns number, time and quality for each point. The number of a
-- point that was never read is ''. A good value is stale when its poll group has
-- not succeeded within the channel's stale_after_ms: an unchanged value is not
-- sent again, and stays fresh through its group.
local function read_points(namespace, channel, kind, points, now)
  local call = redis.call
  local base = namespace .. 'comsrv:' .. channel .. ':' .. kind
  local status = namespace .. 'comsrv:' .. channel .. ':status'
  local values = call('HMGET', base, unpack(points))
  local times = call('HMGET', base .. ':ts', unpack(points))
  local qualities = call('HMGET', base .. ':q', unpack(points))
  local groups = call('EXISTS', base .. ':g') == 1 and call('HMGET', base .. ':g', unpack(points)) or {}
  local stale_after = tonumber(call('HGET', status, 'stale_after_ms') or default_stale_after)
  local successes = {}
  local function last_success(group)
    if successes[group] == nil then
      successes[group] = tonumber(call('HGET', status, 'group:' .. group) or 0)
    end
    return successes[group]
  end
  local reply = {}
  for i = 1, #points do
    local value, time, quality = values[i], times[i], qualities[i]
    if not value then
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3] = '', '', 'bad'
    else
      if not quality then
        local seen = math.max(tonumber(time or 0), last_success(groups[i] or 'default'))
        quality = tonumber(now) - seen > stale_after and 'stale' or 'good'
      end
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3] = value, time or '0', quality
    end
  end
  return reply
end
