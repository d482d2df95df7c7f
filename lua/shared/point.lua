-- Points: value, source time and quality belong together.

-- check_sample names what is wrong with one good sample.
local function check_sample(point, number)
  check_number_id('point', point)
  check_number('the number of point ' .. point, number)
end

-- check_samples checks the points and numbers in turn from args[first] on, all at
-- once, and returns them as one text with spaces between. Only where that fails
-- is the fault looked for.
local function check_samples(args, first)
  for i = first, #args, 2 do
    if #args[i] > 9 or #args[i + 1] > 308 then
      check_sample(args[i], args[i + 1])
    end
  end
  local text = table.concat(args, ' ', first)
  local rest, pairs_found = string.gsub(text .. ' ', '[1-9]%d* %-?%d+%.?%d* ', '')
  if first <= #args and (rest ~= '' or pairs_found ~= (#args - first + 1) / 2) then
    for i = first, #args, 2 do
      check_sample(args[i], args[i + 1])
    end
  end
  return text
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

-- points_of returns every point of the arguments of an ingest, the good ones
-- alone when not_good is 0. value, where given, follows each.
local function points_of(args, not_good, first, value)
  local fields = {}
  local function add(point)
    fields[#fields + 1] = point
    fields[#fields + 1] = value
  end
  for i = 5, 4 + 3 * not_good, 3 do
    add(args[i])
  end
  for i = first, #args, 2 do
    add(args[i])
  end
  return fields
end

-- clear_marks takes the quality of good points away.
local function clear_marks(base, args, first)
  if redis.call('EXISTS', base .. ':q') == 1 then
    redis.call('HDEL', base .. ':q', unpack(points_of(args, 0, first)))
  end
end

-- note_group keeps which points of a batch are not of the default poll group.
local function note_group(base, group, args, first)
  local is_default = group == 'default'
  if #args == 4 or is_default and redis.call('EXISTS', base .. ':g') == 0 then
    return
  end
  local fields = points_of(args, (first - 5) / 3, first, not is_default and group or nil)
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

-- group_state returns when a poll group last succeeded, 0 for never, and how long
-- its values stay fresh: as long as the group says, else as long as its channel.
local function group_state(status, group)
  local success, own, of_channel = unpack(redis.call('HMGET', status, 'group:' .. group, 'stale_after_ms:' .. group, 'stale_after_ms'))
  return tonumber(success or 0), tonumber(own or of_channel or default_stale_after)
end

-- read_points returns three lists: numbers (false where never read), source times
-- and qualities, of which the last is empty when all are good; a point without
-- number is bad. A good value is stale when its poll group has not succeeded
-- within its stale_after_ms: an unchanged value is not sent again, and stays fresh
-- through its group.
local function read_points(namespace, channel, kind, points, now)
  local call = redis.call
  local base = namespace .. 'comsrv:' .. channel .. ':' .. kind
  local status = namespace .. 'comsrv:' .. channel .. ':status'
  local stale_after, success = unpack(call('HMGET', status, 'stale_after_ms', 'group:default'))
  local oldest = tonumber(now) - tonumber(stale_after or default_stale_after)
  local values = call('HMGET', base, unpack(points))
  local times = call('HMGET', base .. ':ts', unpack(points))
  if tonumber(success or 0) >= oldest and call('EXISTS', base .. ':q', base .. ':g') == 0 then
    return {values, times, {}}
  end
  local marks, groups = call('HMGET', base .. ':q', unpack(points)), call('HMGET', base .. ':g', unpack(points))
  local successes, limits, qualities = {default = tonumber(success or 0)}, {default = oldest}, {}
  for i = 1, #points do
    local group = groups[i] or 'default'
    if not successes[group] then
      local last, own = group_state(status, group)
      successes[group], limits[group] = last, tonumber(now) - own
    end
    if not values[i] then
      qualities[i] = 'bad'
    elseif marks[i] then
      qualities[i] = marks[i]
    else
      qualities[i] = math.max(tonumber(times[i] or 0), successes[group]) >= limits[group] and 'good' or 'stale'
    end
  end
  return {values, times, qualities}
end
