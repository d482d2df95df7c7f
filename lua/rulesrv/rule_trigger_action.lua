-- rule_trigger_action: carry out the actions of a rule by hand, as if it had become active for a moment; its state stays
-- KEYS   [{site}:]rule id
-- ARGV   by whom, now ms
-- reply  how many actions were carried out
-- errors INVALID, NOT_FOUND, CONFLICT (the rule is disabled)
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
  if not rule.enabled then
    refuse('CONFLICT', 'rule ' .. shown(id) .. ' is disabled: enable it first')
  end
  local ctx = rule_context(namespace, now)
  ctx.by = by
  for _, node in ipairs(rule.nodes) do
    number_of(ctx, node)
  end
  redis.call('XADD', namespace .. 'rulesrv:events', 'MAXLEN', '~', event_limit, '*', 'rule', id, 'from', '', 'to', 'triggered',
    'time', now, 'by', by, 'values', values_seen(ctx, rule))
  local done = act(ctx, rule, 'active', now)
  local state = string.match(redis.call('HGET', namespace .. 'rulesrv:standing', id) or 'idle', '^%a+')
  if state == 'idle' or state == 'pending' then -- nothing else would ever clear its alarm
    alarm_clear_definition(namespace, id, rule.first.source, now, by, 'carried out by hand')
  end
  return tostring(done)
end
