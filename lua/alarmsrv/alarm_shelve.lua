-- alarm_shelve: set an open alarm aside for a while; it is neither notified nor escalated, nor is what its rule raises about the source meanwhile
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, why, until ms (no further away than the settings allow), now ms
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (closed)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:shelved w, alarmsrv:counts w, alarmsrv:order:standing w, alarmsrv:due w, alarmsrv:journal w,
--   alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r
-- flags  none
local function alarm_shelve(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_count(args, 4, 4)
  local by, reason = check_text('by', args[1], 1, 100), check_text('why', args[2], 1, 500)
  local expires, now = check_time('until', args[3]), check_time('now', args[4])
  local settings = alarm_settings(namespace)
  local left = tonumber(expires) - tonumber(now)
  if left <= 0 or left > settings.shelve_max then
    refuse('INVALID', 'until must be later than now, by at most ' .. settings.shelve_max / 60000 .. ' minutes')
  end
  local alarm = need_alarm(namespace, id)
  if alarm.state == 'closed' then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is closed')
  end
  local definition = alarm.rule .. '|' .. alarm.source
  call('HSET', namespace .. 'alarmsrv:shelved', definition, expires .. ' ' .. #by .. ' ' .. by .. reason)
  call('HSET', namespace .. 'alarmsrv:alarm:' .. id, 'shelved_until', expires, 'shelved_by', by, 'shelved_reason', reason)
  if alarm.shelved_until == '' then
    alarm_count(namespace, 'shelved', 1)
  end
  call('ZREM', namespace .. 'alarmsrv:order:standing', id)
  call('ZREM', namespace .. 'alarmsrv:due', 'escalate:' .. id)
  call('ZADD', namespace .. 'alarmsrv:due', expires, 'shelf:' .. definition)
  alarm_moved(namespace, settings, alarm, 'shelve', alarm.state, alarm.state, now, by, reason)
  return redis.status_reply('OK')
end
