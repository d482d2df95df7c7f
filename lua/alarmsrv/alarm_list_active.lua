-- alarm_list_active: list alarms whose condition still holds, newest first
-- alias  get_active_alarms
-- KEYS   [{site}:]all
-- ARGV   level or '', source or '', how many (1 to 1000)
-- reply  the texts of alarm_get for each
-- errors INVALID
-- keys   alarmsrv:alarm:{id} r, alarmsrv:alarms:active_by_time r, alarmsrv:alarms:by_level:{level} r,
--   alarmsrv:alarms:by_source:{source} r
-- flags  no-writes
local function alarm_list_active(keys, args)
  local namespace = split_key(keys)
  return list_alarms(namespace, 'active_by_time', args)
end
