-- alarm_comment: write a remark about an alarm into the journal
-- KEYS   [{site}:]alarm id
-- ARGV   by whom, text, now ms
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   alarmsrv:alarm:{id} w, alarmsrv:journal w, alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r
-- flags  none
local function alarm_comment(keys, args)
  local namespace, id = split_key(keys)
  check_count(args, 3, 3)
  local by, text, now = check_text('by', args[1], 1, 100), check_text('text', args[2], 1, 2000), check_time('now', args[3])
  local alarm = need_alarm(namespace, id)
  redis.call('HINCRBY', namespace .. 'alarmsrv:alarm:' .. id, 'comments', 1)
  alarm_moved(namespace, alarm_settings(namespace), alarm, 'comment', alarm.state, alarm.state, now, by, text)
  return redis.status_reply('OK')
end
