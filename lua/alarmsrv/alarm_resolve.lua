-- alarm_resolve: clear an alarm by hand
-- alias  resolve_alarm
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (not active)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:open w, alarmsrv:alarms:active w, alarmsrv:alarms:active_by_time w,
--   alarmsrv:alarms:closed_by_time w, alarmsrv:journal w
-- flags  allow-oom
local function alarm_resolve(keys, args)
  local namespace, id = split_key(keys)
  check_id('alarm id', id)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  if redis.call('EXISTS', namespace .. 'alarmsrv:alarm:' .. id) == 0 then
    refuse('NOT_FOUND', 'no alarm ' .. shown(id))
  end
  if not alarm_clear(namespace, id, now, by) then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is not active')
  end
  return redis.status_reply('OK')
end
