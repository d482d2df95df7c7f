-- alarm_get: return one alarm
-- KEYS   [{site}:]alarm id
-- ARGV   none
-- reply  id, source, rule, level, title, description, state, last value, occurrences, raised ms, last raised ms, cleared ms, acknowledged ms,
--   acknowledged by, worst value, shelved until ms, shelved by, shelved why, 1 when suppressed, 1 when chattering, level before escalation,
--   number of comments; '' for what there is not
-- errors INVALID, NOT_FOUND
-- keys   alarmsrv:alarm:{id} r
-- flags  no-writes
local function alarm_get(keys, args)
  local namespace, id = split_key(keys)
  check_id('alarm id', id)
  check_count(args, 0, 0)
  local row = {}
  if not append_alarm(row, namespace, id) then
    refuse('NOT_FOUND', 'no alarm ' .. shown(id))
  end
  return row
end
