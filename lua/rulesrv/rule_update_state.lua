-- rule_update_state: take a rule back to idle by hand, with all that follows; it forgets what it remembers
-- KEYS   [{site}:]rule id
-- ARGV   idle, now ms, and optionally by whom
-- reply  idle, or what the rule is at once again
-- errors INVALID, NOT_FOUND
-- keys   as rule_evaluate
-- flags  none
local function rule_update_state(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 2, 3)
  if args[1] ~= 'idle' then
    refuse('INVALID', 'a rule can be set to idle alone, not ' .. shown(args[1]) .. ': what it is else follows from its conditions')
  end
  local now, by = check_time('now', args[2]), check_by(args[3])
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if not rule then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  rest_rule(namespace, rule, now, by, 'rule reset')
  redis.call('HDEL', namespace .. 'rulesrv:state:' .. id, 'last_fired')
  return (look_at_rule(namespace, id, now))
end
