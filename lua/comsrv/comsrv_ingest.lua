-- comsrv_ingest: store what one poll brought, with all that follows from it, in one step
-- KEYS   [{site}:]channel
-- ARGV   type, source time ms, poll group ('' when the poll failed), then point, number, quality for each sample;
--   quality is '' (good), uncertain, stale or bad; number may be '' where it is stale or bad: the last value stays
-- reply  samples stored, rules that changed state
-- errors INVALID
-- keys   comsrv:{channel}:{type} w, comsrv:{channel}:{type}:ts w, comsrv:{channel}:{type}:q w, comsrv:{channel}:{type}:g w,
--   comsrv:{channel}:status w, hissrv:sources r, hissrv:stream w, hissrv:counters w, rulesrv:index:{channel}:{type} r,
--   and what rule_evaluate touches
-- flags  none
local function comsrv_ingest(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  if #args < 3 or #args > 3003 or #args % 3 ~= 0 then
    refuse('INVALID', 'type, time and group are expected, then point, number and quality for at most 1000 samples')
  end
  local kind, time, group = check_type(args[1]), check_time('source time', args[2]), args[3]
  if group ~= '' then
    check_id('poll group', group)
  end

  -- Good samples are the many: they are gathered without a call for each and
  -- checked together. The others are few and looked at one by one.
  local base = namespace .. 'comsrv:' .. channel .. ':' .. kind
  local values, times, good, numbers, doubted = {}, {}, {}, {}, {}
  local count, last = 0, 0
  for i = 4, #args, 3 do
    local point, number = args[i], args[i + 1]
    if args[i + 2] == '' then
      if #point > 9 or #number > 330 then
        check_sample(point, number)
      end
      last, count = last + 2, count + 1
      values[last - 1], values[last] = point, number
      times[last - 1], times[last] = point, time
      good[count], numbers[point] = point, number
    else
      doubted[#doubted + 1] = i
    end
  end
  check_samples(values, count)
  local history, told = table.concat(values, ' '), table.concat(values, '","')
  local marks, qualities = {}, {}
  for _, i in ipairs(doubted) do
    local point, number, quality = args[i], args[i + 1], args[i + 2]
    check_doubted(point, number, quality)
    if number ~= '' then
      values[last + 1], values[last + 2] = point, number
      times[last + 1], times[last + 2] = point, time
      last = last + 2
      told = told .. (told == '' and '' or '","') .. point .. '","' .. number
    end
    marks[#marks + 1] = point
    marks[#marks + 1] = quality
    qualities[#qualities + 1] = '"' .. point .. '":"' .. quality .. '"'
  end

  if last > 0 then
    call('HSET', base, unpack(values))
    call('HSET', base .. ':ts', unpack(times))
  end
  if count > 0 and call('EXISTS', base .. ':q') == 1 then
    call('HDEL', base .. ':q', unpack(good))
  end
  if #marks > 0 then
    call('HSET', base .. ':q', unpack(marks))
  end
  if group ~= '' then
    call('HSET', namespace .. 'comsrv:' .. channel .. ':status', 'group:' .. group, time)
    note_group(base, group, args)
  end
  local changed = 0
  if count > 0 then
    feed_history(namespace, 'comsrv:' .. channel .. ':' .. kind, time, history)
    changed = run_rules(namespace, channel, kind, good, time, {base = base, numbers = numbers})
  end
  if #args > 3 then
    tell_update(namespace, channel, kind, time, told, table.concat(qualities, ','))
  end
  return {tostring((#args - 3) / 3), tostring(changed)}
end
