-- comsrv_ingest: store what one poll brought, with all that follows from it, in one step
-- KEYS   [{site}:]channel
-- ARGV   type, source time ms, poll group ('' when the poll failed), then point, number, quality for each sample;
--   quality is '' (good), uncertain, stale or bad; number may be '' where it is stale or bad: the last value stays
-- reply  samples stored, rules that changed state
-- errors INVALID
-- keys   comsrv:{channel}:{type} w, comsrv:{channel}:{type}:ts w, comsrv:{channel}:{type}:q w, comsrv:{channel}:{type}:g w,
--   comsrv:{channel}:status w, hissrv:sources r, hissrv:stream w, hissrv:counters w, rulesrv:version r,
--   rulesrv:index:{channel}:{type} r, rulesrv:rule:{id} r, rulesrv:state:{id} w, rulesrv:actions w, rulesrv:counters w,
--   alarmsrv:* w, comsrv:{channel}:commands w, comsrv:{channel}:command:{id} w
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

  local base = namespace .. 'comsrv:' .. channel .. ':' .. kind
  local find = string.find
  local values, times, good, marks, groups = {}, {}, {}, {}, {}
  local told, history, inputs = {}, {}, {}
  for i = 4, #args, 3 do
    local point, number, quality = args[i], args[i + 1], args[i + 2]
    if not find(point, '^[1-9]%d*$') or #point > 10 then
      check_number_id('point', point)
    end
    if quality ~= '' and quality ~= 'bad' and quality ~= 'uncertain' and quality ~= 'stale' then
      refuse('INVALID', 'point ' .. point .. ': unknown quality ' .. shown(quality))
    end
    if number ~= '' then
      check_number('the number of point ' .. point, number)
      local n = #values
      values[n + 1], values[n + 2] = point, number
      times[n + 1], times[n + 2] = point, time
    elseif quality ~= 'bad' and quality ~= 'stale' then
      refuse('INVALID', 'point ' .. point .. ' has no number')
    end
    local shown_number = number ~= '' and '"' .. number .. '"' or 'null'
    if quality == '' then
      good[#good + 1] = point
      history[#history + 1] = point .. '=' .. number
      inputs[base .. ':' .. point] = tonumber(number)
      told[#told + 1] = '[' .. point .. ',' .. shown_number .. ',"good"]'
    else
      local n = #marks
      marks[n + 1], marks[n + 2] = point, quality
      told[#told + 1] = '[' .. point .. ',' .. shown_number .. ',"' .. quality .. '"]'
    end
    if group ~= '' and group ~= 'default' then
      local n = #groups
      groups[n + 1], groups[n + 2] = point, group
    end
  end

  if #values > 0 then
    call('HSET', base, unpack(values))
    call('HSET', base .. ':ts', unpack(times))
  end
  if #good > 0 and call('EXISTS', base .. ':q') == 1 then
    call('HDEL', base .. ':q', unpack(good))
  end
  if #marks > 0 then
    call('HSET', base .. ':q', unpack(marks))
  end
  if #groups > 0 then
    call('HSET', base .. ':g', unpack(groups))
  end
  if group ~= '' then
    call('HSET', namespace .. 'comsrv:' .. channel .. ':status', 'group:' .. group, time)
  end
  local changed = 0
  if #good > 0 then
    feed_history(namespace, 'comsrv:' .. channel .. ':' .. kind, time, table.concat(history, ' '))
    changed = run_rules(namespace, channel, kind, good, time, inputs)
  end
  if #told > 0 then
    call('PUBLISH', namespace .. 'comsrv:updates:' .. channel,
      '{"channel":' .. channel .. ',"type":"' .. kind .. '","time":' .. time .. ',"points":[' .. table.concat(told, ',') .. ']}')
  end
  return {tostring(#told), tostring(changed)}
end
