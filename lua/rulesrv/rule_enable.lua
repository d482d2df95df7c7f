-- rule_enable: switch a rule on, and look at it at once, or off, when it goes idle
-- KEYS   [{site}:]rule id
-- ARGV   1 or 0, now ms, and optionally by whom
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} w, rulesrv:version w, rulesrv:sequence w, as rule_evaluate
-- flags  none
local function rule_enable(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 2, 3)
  check_integer('enabled', args[1], 0, 1)
  local now, by = check_time('now', args[2]), check_by(args[3])
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if not rule then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  redis.call('HSET', namespace .. 'rulesrv:rule:' .. id, 'enabled', args[1])
  touch_rules(namespace, now)
  if args[1] == '0' then
    rest_rule(namespace, rule, now, by, 'rule disabled')
  end
  look_at_rule(namespace, id, now)
  return redis.status_reply('OK')
end
