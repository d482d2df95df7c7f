-- Points: value, source time and quality belong together.

-- check_sample names what is wrong with one good sample.
local function check_sample(point, number)
  check_number_id('point', point)
  check_number('the number of point ' .. point, number)
end

-- check_samples checks points and numbers in turn, all at once: each pair is
-- matched and taken out, and nothing may be left over. Only where that fails is
-- the fault looked for.
local function check_samples(values, count)
  if count == 0 then
    return
  end
  local rest, pairs_found = string.gsub(table.concat(values, ' ') .. ' ', '[1-9]%d* %-?%d+%.?%d* ', '')
  if rest == '' and pairs_found == count then
    return
  end
  for i = 1, 2 * count, 2 do
    check_sample(values[i], values[i + 1])
  end
end

-- check_doubted checks a sample that is not good. It may come without a number
-- where the last one stays.
local function check_doubted(point, number, quality)
  check_number_id('point', point)
  if quality ~= 'bad' and quality ~= 'uncertain' and quality ~= 'stale' then
    refuse('INVALID', 'point ' .. point .. ': unknown quality ' .. shown(quality) .. ": use '', uncertain, stale or bad")
  end
  if number ~= '' then
    check_number('the number of point ' .. point, number)
  elseif quality == 'uncertain' then
    refuse('INVALID', 'point ' .. point .. ' is uncertain and has no number')
  end
end

-- note_group keeps which points of a batch are not of the default poll group.
local function note_group(base, group, args)
  local is_default = group == 'default'
  if #args == 3 or is_default and redis.call('EXISTS', base .. ':g') == 0 then
    return
  end
  local fields = {}
  for i = 4, #args, 3 do
    fields[#fields + 1] = args[i]
    if not is_default then
      fields[#fields + 1] = group
    end
  end
  redis.call(is_default and 'HDEL' or 'HSET', base .. ':g', unpack(fields))
end

-- tell_update publishes a batch. values is points and numbers in turn with '","'
-- between, qualities '"point":"quality"' of those that are not good.
local function tell_update(namespace, channel, kind, time, values, qualities)
  redis.call('PUBLISH', namespace .. 'comsrv:updates:' .. channel, '{"channel":' .. channel .. ',"type":"' .. kind
    .. '","time":' .. time .. ',"values":[' .. (values == '' and '' or '"' .. values .. '"') .. '],"quality":{' .. qualities .. '}}')
end

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
