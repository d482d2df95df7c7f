-- alarm_store: raise an alarm; raised again while it is open it is the same alarm with one more occurrence, told anew where it is more severe
-- alias  store_alarm
-- KEYS   [{site}:]new
-- ARGV   source, rule ('' when raised by hand), level, title, description, value or '', in which direction a value is worse (high, low or ''),
--   now ms, and optionally by whom ('' for the rule itself)
-- reply  alarm id
-- errors INVALID
-- keys   alarmsrv:alarm:{id} w, alarmsrv:definitions w, alarmsrv:sequence w, alarmsrv:alarms:active w, alarmsrv:alarms:by_level:{level} w,
--   alarmsrv:alarms:by_source:{source} w, alarmsrv:order:all w, alarmsrv:order:time w, alarmsrv:order:open w, alarmsrv:order:active w, alarmsrv:order:standing w,
--   alarmsrv:order:level:{level} w, alarmsrv:order:source:{source} w, alarmsrv:order:suppressed w, alarmsrv:counts w, alarmsrv:journal w,
--   alarmsrv:flood w, alarmsrv:summary w, alarmsrv:notifications w, alarmsrv:counters w, netsrv:lost w, alarmsrv:due w,
--   alarmsrv:shelved r, alarmsrv:version r, alarmsrv:settings r, alarmsrv:suppressions r
-- flags  none
local function alarm_store(keys, args)
  local namespace = split_key(keys)
  check_count(args, 8, 9)
  local source, rule, level, title, description, value, worse, now, by = unpack(args)
  check_alarm_source(source)
  if rule ~= '' then
    check_id('rule', rule)
  end
  check_level(level)
  check_text('title', title, 1, 200)
  check_text('description', description, 0, 2000)
  if value ~= '' then
    check_number('value', value)
  end
  if worse ~= '' and worse ~= 'high' and worse ~= 'low' then
    refuse('INVALID', 'worse ' .. shown(worse) .. " is none of high, low and ''")
  end
  check_time('now', now)
  by = by ~= '' and by or nil
  if by then
    check_text('by', by, 1, 100)
  end
  return alarm_raise(namespace, now, {source = source, rule = rule, level = level, title = title, description = description,
    value = value, worse = worse, by = by})
end
