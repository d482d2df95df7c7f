-- rule_trigger_action: carry out the actions of a rule by hand, as if it had become active; its state stays
-- KEYS   [{site}:]rule id
-- ARGV   by whom, now ms
-- reply  how many actions were carried out
-- errors INVALID, NOT_FOUND
-- keys   as rule_evaluate
-- flags  none
local function rule_trigger_action(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 2, 2)
  local by, now = check_text('by', args[1], 1, 100), check_time('now', args[2])
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if not rule then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  local ctx = rule_context(namespace, now)
  ctx.by = by
  for _, node in ipairs(rule.nodes) do
    number_of(ctx, node)
  end
  redis.call('XADD', namespace .. 'rulesrv:events', 'MAXLEN', '~', event_limit, '*', 'rule', id, 'from', '', 'to', 'triggered',
    'time', now, 'by', by, 'values', values_seen(ctx, rule))
  return tostring(act(ctx, rule, 'active', now))
end
