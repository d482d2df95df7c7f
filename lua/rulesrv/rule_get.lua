-- rule_get: return a rule and where it stands
-- KEYS   [{site}:]rule id
-- ARGV   none
-- reply  rule as JSON, status (idle, pending, active, clearing or disabled), since ms, times fired, last fired ms
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} r, rulesrv:state:{id} r, rulesrv:standing r
-- flags  no-writes
local function rule_get(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 0, 0)
  local row = rule_row(namespace, id)
  if not row then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  return row
end
