-- alarm_list: list alarms, newest first, a span of time from its end to its beginning; at most 1000 are looked at in one call
-- KEYS   [{site}:]all
-- ARGV   cursor ('' for the newest, else what the page before replied), how many (1 to 1000), and '' or: state (open, active, active_unacknowledged, active_acknowledged,
--   cleared_unacknowledged or closed), level, source, rule, raised from ms, raised before ms, shelved (1 or 0), suppressed (1 or 0)
-- reply  cursor of the next page ('' at the end; a page may be short, or empty, before), then the texts of alarm_get for each
-- errors INVALID
-- keys   alarmsrv:alarm:{id} r, alarmsrv:order:all r, alarmsrv:order:time r, alarmsrv:order:open r, alarmsrv:order:active r, alarmsrv:order:level:{level} r,
--   alarmsrv:order:source:{source} r, alarmsrv:order:suppressed r
-- flags  no-writes
local function alarm_list(keys, args)
  local namespace = split_key(keys)
  check_count(args, 10, 10)
  local cursor, count = check_cursor(args[1]), check_integer('how many', args[2], 1, 1000)
  return list_alarms(namespace, cursor, count, check_filter(unpack(args, 3)))
end
