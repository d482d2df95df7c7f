-- alarm_resolve: clear an alarm by hand
-- alias  resolve_alarm
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (not active)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:alarms:active w, alarmsrv:order:active w, alarmsrv:order:standing w, alarmsrv:order:open w,
--   alarmsrv:order:level:{level} w, alarmsrv:order:closed w, alarmsrv:order:suppressed w, alarmsrv:counts w, alarmsrv:due w,
--   alarmsrv:journal w, alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r
-- flags  allow-oom
local function alarm_resolve(keys, args)
  local namespace, id = split_key(keys)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  if not alarm_clear(namespace, need_alarm(namespace, id), now, by, '') then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is not active')
  end
  return redis.status_reply('OK')
end
