-- comsrv_ingest: store what one poll brought, with all that follows from it, in one step
-- KEYS   [{site}:]channel
-- ARGV   type, source time ms, poll group ('' when the poll failed), how many samples are not good, then point, number and
--   quality (uncertain, stale or bad) of each of those, then point and number of each good one, at most 1000 samples in all;
--   the number of a stale or bad one may be '': the last value stays
-- reply  samples stored, rules that changed state
-- errors INVALID
-- keys   comsrv:{channel}:{type} w, comsrv:{channel}:{type}:ts w, comsrv:{channel}:{type}:q w, comsrv:{channel}:{type}:g w,
--   comsrv:{channel}:status w, hissrv:sources r, hissrv:stream w, hissrv:counters w, rulesrv:index:{channel}:{type} r,
--   as rule_evaluate
-- flags  none
local function comsrv_ingest(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 4, 3004)
  local kind, time, group = check_type(args[1]), check_time('source time', args[2]), args[3]
  if group ~= '' then
    check_id('poll group', group)
  end
  local doubted = check_integer('how many are not good', args[4], 0, 1000)
  local first = 5 + 3 * doubted
  local good = (#args - first + 1) / 2
  if good < 0 or good % 1 ~= 0 or good + doubted > 1000 then
    refuse('INVALID', 'type, time, group and how many are not good are expected, then point, number and quality of each of '
      .. 'those, then point and number of each good one, at most 1000 samples')
  end

  -- Good samples are the many: they lie in the arguments as the hash takes them
  -- and are checked together. The others are few and looked at one by one.
  local text = check_samples(args, first)
  local told = good > 0 and table.concat(args, '","', first) or ''
  local values, times, marks, qualities = {}, {}, {}, {}
  for i = 5, first - 1, 3 do
    local point, number, quality = args[i], args[i + 1], args[i + 2]
    check_doubted(point, number, quality)
    if number ~= '' then
      local n = #values
      values[n + 1], values[n + 2] = point, number
      times[n + 1], times[n + 2] = point, time
      told = told .. (told == '' and '' or '","') .. point .. '","' .. number
    end
    marks[#marks + 1] = point
    marks[#marks + 1] = quality
    qualities[#qualities + 1] = '"' .. point .. '":"' .. quality .. '"'
  end

  local base, changed = namespace .. 'comsrv:' .. channel .. ':' .. kind, 0
  if #values > 0 then
    call('HSET', base, unpack(values))
    call('HSET', base .. ':ts', unpack(times))
  end
  if group ~= '' then
    look_after_gap(namespace, channel, group, time)
    call('HSET', namespace .. 'comsrv:' .. channel .. ':status', 'group:' .. group, time)
    note_group(base, group, args, first)
  end
  if good > 0 then
    call('HSET', base, unpack(args, first))
    clear_marks(base, args, first)
  end
  if #marks > 0 then
    call('HSET', base .. ':q', unpack(marks))
  end
  local cache, bound, due, numbers
  if #args > 4 then
    cache, bound = watched_points(namespace, channel, kind)
  end
  if bound then
    due, numbers = rules_due(bound, args, first)
  end
  if good > 0 then
    -- The numbers have been stored: their places take the time of each.
    for i = first + 1, #args, 2 do
      args[i] = time
    end
    call('HSET', base .. ':ts', unpack(args, first))
    feed_history(namespace, 'comsrv:' .. channel .. ':' .. kind, time, text)
  end
  local doubt = bound and in_doubt(bound, args, first)
  if due or doubt then
    changed = run_rules(namespace, cache, due, numbers, doubt, time)
  end
  if #args > 4 then
    tell_update(namespace, channel, kind, time, told, table.concat(qualities, ','))
  end
  return {tostring(good + doubted), tostring(changed)}
end
