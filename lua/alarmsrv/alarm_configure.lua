-- alarm_configure: store what the alarms of the site are treated by; other steps of escalation hold for alarms that stand, too, by alarm_tick
-- KEYS   [{site}:]all
-- ARGV   flood: alarms told in ten minutes (1 to 100000), chattering: how often (2 to 20) within ms (1000 to 3600000), longest shelving ms
--   (60000 to 604800000), entries of the journal (1000 to 10000000), notifications that wait (10 to 1000000), then for each of at most 20
--   steps of escalation: level, unacknowledged ms (1000 to 604800000), the more severe level that follows or '', whom to notify or ''
-- reply  OK
-- errors INVALID
-- keys   alarmsrv:settings w, alarmsrv:suppressions r, alarmsrv:version w, alarmsrv:order:active r, alarmsrv:due w
-- flags  none
local function alarm_configure(keys, args)
  local namespace = split_key(keys)
  check_count(args, 6, 86)
  if #args % 4 ~= 2 then
    refuse('INVALID', 'six settings are expected, then level, time, next level and whom to notify for each step of escalation')
  end
  local fields = {
    'flood_limit', check_integer('flood', args[1], 1, 100000),
    'chatter_count', check_integer('how often', args[2], 2, 20),
    'chatter_period', check_integer('within', args[3], 1000, 3600000),
    'shelve_max', check_integer('longest shelving', args[4], 60000, 604800000),
    'journal_limit', check_integer('entries of the journal', args[5], 1000, 10000000),
    'notification_limit', check_integer('notifications', args[6], 10, 1000000),
  }
  local steps = {}
  for i = 7, #args, 4 do
    local level, wait, to, whom = unpack(args, i, i + 3)
    check_level(level)
    check_integer('unacknowledged', wait, 1000, 604800000)
    if to ~= '' and level_rank[check_level(to)] >= level_rank[level] then
      refuse('INVALID', 'a step leads from ' .. level .. ' to ' .. to .. ', which is not more severe')
    elseif to == '' and whom == '' then
      refuse('INVALID', 'a step of escalation needs a level or whom to notify')
    end
    check_text('whom to notify', whom, 0, 200)
    if string.find(whom, '[\t\n]') then
      refuse('INVALID', 'whom to notify holds a control character')
    end
    steps[#steps + 1] = level .. '\t' .. wait .. '\t' .. to .. '\t' .. whom .. '\n'
  end
  local key, escalation = namespace .. 'alarmsrv:settings', table.concat(steps)
  local before = redis.call('HGET', key, 'escalation') or ''
  redis.call('HSET', key, 'escalation', escalation, unpack(fields))
  touch_settings(namespace)
  if escalation ~= before and redis.call('EXISTS', namespace .. 'alarmsrv:order:active') == 1 then
    redis.call('ZADD', namespace .. 'alarmsrv:due', 0, 'reschedule:0')
  end
  return redis.status_reply('OK')
end
