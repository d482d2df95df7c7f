-- alarm_unshelve: end the shelving of an alarm before its time; one that is still active is announced
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (not shelved)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:shelved w, alarmsrv:definitions r, alarmsrv:order:standing w, alarmsrv:counts w, alarmsrv:due w,
--   alarmsrv:journal w, alarmsrv:flood w, alarmsrv:summary w, alarmsrv:notifications w, alarmsrv:counters w,
--   netsrv:lost w, alarmsrv:version r,
--   alarmsrv:settings r, alarmsrv:suppressions r
-- flags  none
local function alarm_unshelve(keys, args)
  local namespace, id = split_key(keys)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  local alarm = need_alarm(namespace, id)
  if not unshelve(namespace, alarm_settings(namespace), alarm.rule .. '|' .. alarm.source, now, by, '') then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is not shelved')
  end
  return redis.status_reply('OK')
end
