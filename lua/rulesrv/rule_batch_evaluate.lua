-- rule_batch_evaluate: evaluate many rules in one call; an unknown one does not stop the others
-- KEYS   [{site}:]all
-- ARGV   now ms, then 1 to 1000 rule ids
-- reply  idle, active, disabled or missing for each, in the order asked
-- errors INVALID
-- keys   as rule_evaluate
-- flags  none
local function rule_batch_evaluate(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 1001)
  local now = check_time('now', args[1])
  for i = 2, #args do
    check_id('rule id', args[i])
  end
  local cache, inputs, reply = cached_rules(namespace), {}, {}
  for i = 2, #args do
    local rule = compiled_rule(namespace, cache, args[i])
    if not rule then
      reply[i - 1] = 'missing'
    elseif not rule.enabled then
      reply[i - 1] = 'disabled'
    else
      reply[i - 1] = (step_rule(namespace, rule, rule_status(namespace, args[i]), now, inputs))
    end
  end
  return reply
end
