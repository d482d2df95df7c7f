-- rule_set_value: set a custom value, which rules may watch as custom:{name}, and evaluate those rules
-- KEYS   [{site}:]name
-- ARGV   number, now ms
-- reply  how many rules changed state
-- errors INVALID, FULL
-- keys   as rule_evaluate
-- flags  none
local function rule_set_value(keys, args)
  local namespace, name = split_key(keys)
  check_id('name', name)
  check_count(args, 2, 2)
  local number, now = check_number('the number', args[1]), check_time('now', args[2])
  local key = namespace .. 'rulesrv:custom'
  if redis.call('HLEN', key) >= 10000 and redis.call('HEXISTS', key, name) == 0 then
    refuse('FULL', 'a site has at most 10000 custom values')
  end
  return tostring(set_value(rule_context(namespace, now), name, number, now))
end
