-- rule_upsert: create or replace a rule and look at it at once; one that stays the same keeps its state
-- KEYS   [{site}:]rule id
-- ARGV   rule as JSON: {id, name, description, enabled, priority, logic (AND, OR or NOT), conditions: [{source, operator, value} and
--   optionally minus, compare_to, function, window; or {logic, conditions}], hysteresis, on_delay, off_delay, cooldown, schedule,
--   bad_input, actions: [{type, when, params}]}, now ms
-- reply  OK
-- errors INVALID, CONFLICT (rules would set off one another without end), FULL
-- keys   as rule_delete, as rule_evaluate
-- flags  none
local function rule_upsert(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_rule_id(id)
  check_count(args, 2, 2)
  local now = check_time('now', args[2])
  local key = namespace .. 'rulesrv:rule:' .. id
  local stored = call('HGET', key, 'config')
  if stored == args[1] then -- it was checked when it came
    look_at_rule(namespace, id, now)
    return redis.status_reply('OK')
  end
  local rule, sources = read_rule(args[1])
  if rule.id ~= id then
    refuse('INVALID', 'the rule calls itself ' .. shown(tostring(rule.id)) .. ' and the key ' .. shown(id))
  end
  if not stored and call('ZCARD', namespace .. 'rulesrv:rules') >= rule_limit then
    refuse('FULL', 'a site has at most ' .. rule_limit .. ' rules')
  end
  check_room(namespace, id, sources)
  check_loop(namespace, rule, sources)
  compile_rule(namespace, rule)

  remove_rule(namespace, id, now, nil, 'rule replaced')
  bind_rule(namespace, id, sources)
  call('HSET', key, 'config', args[1], 'enabled', rule.enabled == false and '0' or '1', 'sources', table.concat(sources, ' '))
  call('ZADD', namespace .. 'rulesrv:rules', 0, id)
  touch_rules(namespace, now)
  look_at_rule(namespace, id, now)
  return redis.status_reply('OK')
end
