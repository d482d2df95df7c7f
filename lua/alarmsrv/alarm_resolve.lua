-- alarm_resolve: clear an alarm by hand, unless its rule says that its condition holds
-- alias  resolve_alarm
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (not active, or its rule is)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:alarms:active w, alarmsrv:order:active w, alarmsrv:order:standing w, alarmsrv:order:open w,
--   alarmsrv:order:level:{level} w, alarmsrv:order:closed w, alarmsrv:order:suppressed w, alarmsrv:counts w, alarmsrv:due w,
--   alarmsrv:journal w, alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r, rulesrv:standing r
-- flags  allow-oom
local function alarm_resolve(keys, args)
  local namespace, id = split_key(keys)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  local alarm = need_alarm(namespace, id)
  local standing = redis.call('HGET', namespace .. 'rulesrv:standing', alarm.rule)
  if not is_active[alarm.state] then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is not active')
  elseif standing and not string.find(standing, '^pending') then
    refuse('CONFLICT', 'rule ' .. shown(alarm.rule) .. ' says that the condition of alarm ' .. shown(id) .. ' holds: mend the cause, or shelve the alarm')
  end
  alarm_clear(namespace, alarm, now, by, '')
  return redis.status_reply('OK')
end
