-- alarm_acknowledge: record that somebody has seen an alarm, since it became active or worse, when it had occurred so often
-- alias  acknowledge_alarm
-- KEYS   [{site}:]alarm id
-- ARGV   the occurrences seen (1 to 9999999999), by whom, now ms
-- reply  the new state
-- errors INVALID, NOT_FOUND, CONFLICT (acknowledged before, or closed; or it has become active or worse since)
-- keys   alarmsrv:alarm:{id} w, alarmsrv:order:open w, alarmsrv:order:level:{level} w, alarmsrv:order:closed w, alarmsrv:order:suppressed w,
--   alarmsrv:counts w, alarmsrv:due w, alarmsrv:journal w, alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r
-- flags  allow-oom
local function alarm_acknowledge(keys, args)
  local namespace, id = split_key(keys)
  check_count(args, 3, 3)
  local seen = check_integer('occurrences seen', args[1], 1, 9999999999)
  local by, now = check_text('by', args[2], 1, 100), check_time('now', args[3])
  local alarm = need_alarm(namespace, id)
  local to = ({active_unacknowledged = 'active_acknowledged', cleared_unacknowledged = 'closed'})[alarm.state]
  if not to then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' is ' .. alarm.state .. ': there is nothing to acknowledge')
  end
  if seen > tonumber(alarm.occurrences) then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' has occurred ' .. alarm.occurrences .. ' times, and ' .. args[1] .. ' were seen: look at it again')
  elseif seen < (tonumber(alarm.activated) or 1) then
    refuse('CONFLICT', 'alarm ' .. shown(id) .. ' has become active or worse as of occurrence ' .. alarm.activated .. ', and ' .. args[1]
      .. ' were seen: look at it again')
  end
  redis.call('HSET', namespace .. 'alarmsrv:alarm:' .. id, 'acknowledged_at', now, 'acknowledged_by', by)
  alarm_set_state(namespace, alarm_settings(namespace), alarm, 'acknowledge', to, now, by, '')
  return to
end
