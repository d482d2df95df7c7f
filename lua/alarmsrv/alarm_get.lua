-- alarm_get: return one alarm
-- KEYS   [{site}:]alarm id
-- ARGV   none
-- reply  id, source, rule, level, title, description, state, value, occurrences, raised ms, last ms, cleared ms, acknowledged ms, acknowledged by
-- errors INVALID, NOT_FOUND
-- keys   alarmsrv:alarm:{id} r
-- flags  no-writes
local function alarm_get(keys, args)
  local namespace, id = split_key(keys)
  check_id('alarm id', id)
  check_count(args, 0, 0)
  local row = alarm_row(namespace, id)
  if not row then
    refuse('NOT_FOUND', 'no alarm ' .. shown(id))
  end
  return row
end
