-- rule_delete: remove a rule, its bindings and its state; an alarm that it holds active is cleared
-- KEYS   [{site}:]rule id
-- ARGV   now ms, and optionally by whom
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} w, rulesrv:rules w, rulesrv:index:{source} w, rulesrv:sequence w, rulesrv:version w, as rule_evaluate
-- flags  none
local function rule_delete(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 1, 2)
  if not remove_rule(namespace, id, check_time('now', args[1]), check_by(args[2]), 'rule deleted') then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  return redis.status_reply('OK')
end
