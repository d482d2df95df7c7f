-- rule_evaluate: evaluate one rule against the stored values and act on an edge, as ingest would
-- KEYS   [{site}:]rule id
-- ARGV   now ms
-- reply  idle, active or disabled
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} r, rulesrv:state:{id} w, rulesrv:standing w, rulesrv:version r, rulesrv:actions w, rulesrv:counters w,
--   comsrv:{channel}:{type} r, comsrv:{channel}:{type}:q r, comsrv:{channel}:{type}:ts r, comsrv:{channel}:{type}:g r,
--   comsrv:{channel}:status r, as comsrv_command, as alarm_store, as alarm_resolve
-- flags  none
local function rule_evaluate(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 1, 1)
  check_time('now', args[1])
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if not rule then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  if not rule.enabled then
    return 'disabled'
  end
  local status = step_rule(namespace, rule, rule_status(namespace, id), args[1], {})
  return status
end
