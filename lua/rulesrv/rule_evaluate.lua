-- rule_evaluate: evaluate one rule against the stored values and act on a change, as ingest would
-- KEYS   [{site}:]rule id
-- ARGV   now ms
-- reply  idle, pending, active, clearing or disabled
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} r, rulesrv:state:{id} w, rulesrv:standing w, rulesrv:memory w, rulesrv:due w, rulesrv:version r,
--   rulesrv:index:{source} r, rulesrv:custom w, rulesrv:actions w, rulesrv:counters w, rulesrv:events w, rulesrv:firings:{id} w,
--   modsrv:version r, modsrv:model:{id} r, comsrv:{channel}:{type} r, comsrv:{channel}:{type}:q r, comsrv:{channel}:{type}:ts r,
--   comsrv:{channel}:{type}:g r, comsrv:{channel}:status r, as comsrv_command, as alarm_store, as alarm_resolve
-- flags  none
local function rule_evaluate(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 1, 1)
  local now = check_time('now', args[1])
  if not compiled_rule(namespace, cached_rules(namespace), id) then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  return (look_at_rule(namespace, id, now))
end
