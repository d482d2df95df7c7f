-- alarm_store: raise an alarm; raised again while active it is the same alarm with one more occurrence
-- alias  store_alarm
-- KEYS   [{site}:]new
-- ARGV   source, rule ('' when raised by hand), level, title, description, now ms
-- reply  alarm id
-- errors INVALID
-- keys   alarmsrv:alarm:{id} w, alarmsrv:open w, alarmsrv:sequence w, alarmsrv:alarms:active w, alarmsrv:alarms:active_by_time w,
--   alarmsrv:alarms:by_time w, alarmsrv:alarms:by_level:{level} w, alarmsrv:alarms:by_source:{source} w, alarmsrv:journal w
-- flags  none
local function alarm_store(keys, args)
  local namespace = split_key(keys)
  check_count(args, 6, 6)
  local source, rule, level, title, description, now = unpack(args)
  check_alarm_source(source)
  if rule ~= '' then
    check_id('rule', rule)
  end
  check_level(level)
  check_text('title', title, 1, 200)
  check_text('description', description, 0, 2000)
  check_time('now', now)
  return alarm_raise(namespace, now, {source = source, rule = rule, level = level, title = title, description = description})
end
