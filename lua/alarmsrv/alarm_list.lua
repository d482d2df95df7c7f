-- alarm_list: list alarms of every state, newest first
-- KEYS   [{site}:]all
-- ARGV   level or '', source or '', how many (1 to 1000)
-- reply  the texts of alarm_get for each
-- errors INVALID
-- keys   alarmsrv:alarm:{id} r, alarmsrv:alarms:by_time r, alarmsrv:alarms:by_level:{level} r, alarmsrv:alarms:by_source:{source} r
-- flags  no-writes
local function alarm_list(keys, args)
  local namespace = split_key(keys)
  return list_alarms(namespace, 'by_time', args)
end
