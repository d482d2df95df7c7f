-- alarm_list_active: list alarms whose condition still holds, newest first; at most 1000 are looked at in one call
-- alias  get_active_alarms
-- KEYS   [{site}:]all
-- ARGV   cursor ('' for the newest), how many (1 to 1000), level or '', source or ''
-- reply  as of alarm_list
-- errors INVALID
-- keys   alarmsrv:alarm:{id} r, alarmsrv:order:open r, alarmsrv:order:active r, alarmsrv:order:level:{level} r,
--   alarmsrv:order:source:{source} r
-- flags  no-writes
local function alarm_list_active(keys, args)
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  local cursor, count = check_cursor(args[1]), check_integer('how many', args[2], 1, 1000)
  return list_alarms(namespace, cursor, count, check_filter('active', args[3], args[4], '', '', '', '', ''))
end
