-- rule_upsert: create or replace a rule and look at it at once; one that stays the same keeps its state
-- KEYS   [{site}:]rule id
-- ARGV   rule as JSON: {id, name, enabled, logic, conditions: [...], actions: [...]}, now ms
-- reply  OK
-- errors INVALID
-- keys   as rule_delete, as rule_evaluate
-- flags  none
local function rule_upsert(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 2, 2)
  local now = check_time('now', args[2])
  local rule = decode_object('the rule', args[1])
  local plain = check_json('the rule', args[1])
  if string.find(plain, '"actions"%s*:%s*{') or string.find(plain, '"conditions"%s*:%s*{') or string.find(plain, '"params"%s*:%s*%[') then
    refuse('INVALID', 'conditions and actions must be lists, params an object') -- to the decoder [] and {} are the same
  end
  if rule.id ~= id then
    refuse('INVALID', 'the rule calls itself ' .. shown(tostring(rule.id)) .. ' and the key ' .. shown(id))
  end
  local bound = check_rule(rule)
  local key = namespace .. 'rulesrv:rule:' .. id
  if call('HGET', key, 'config') == args[1] then
    look_at_rule(namespace, id, now)
    return redis.status_reply('OK')
  end

  remove_rule(namespace, id, now)
  local indexes = {}
  for index, points in pairs(bound) do
    indexes[#indexes + 1] = index
    for point in pairs(points) do
      local others = call('HGET', namespace .. 'rulesrv:index:' .. index, point)
      call('HSET', namespace .. 'rulesrv:index:' .. index, point, (others and others .. ' ' or '') .. id)
    end
  end
  table.sort(indexes)
  call('HSET', key, 'config', args[1], 'enabled', rule.enabled == false and '0' or '1', 'indexes', table.concat(indexes, ' '))
  call('ZADD', namespace .. 'rulesrv:rules', 0, id)
  touch_rules(namespace, now)
  look_at_rule(namespace, id, now)
  return redis.status_reply('OK')
end
