-- Keeping rules: bindings and state go with the rule.

-- remove_rule takes a rule, its bindings and its state away, and clears the
-- alarm that it holds active. It returns false when there is no such rule.
local function remove_rule(namespace, id, now)
  local call = redis.call
  local key = namespace .. 'rulesrv:rule:' .. id
  local indexes = call('HGET', key, 'indexes')
  if not indexes then
    return false
  end
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if rule_status(namespace, id) == 'active' then
    rule_idle(namespace, rule, now)
  end
  for index in string.gmatch(indexes, '%S+') do
    local index_key = namespace .. 'rulesrv:index:' .. index
    local bound = call('HGETALL', index_key)
    for i = 1, #bound, 2 do
      local kept = {}
      for other in string.gmatch(bound[i + 1], '%S+') do
        if other ~= id then
          kept[#kept + 1] = other
        end
      end
      if #kept == 0 then
        call('HDEL', index_key, bound[i])
      else
        call('HSET', index_key, bound[i], table.concat(kept, ' '))
      end
    end
  end
  call('DEL', key, namespace .. 'rulesrv:state:' .. id)
  call('ZREM', namespace .. 'rulesrv:rules', id)
  touch_rules(namespace, now)
  return true
end

-- rule_row returns configuration, status, since, fired and last fired.
local function rule_row(namespace, id)
  local config, enabled = unpack(redis.call('HMGET', namespace .. 'rulesrv:rule:' .. id, 'config', 'enabled'))
  if not config then
    return nil
  end
  local state = redis.call('HMGET', namespace .. 'rulesrv:state:' .. id, 'since', 'fired', 'last_fired')
  local status = enabled == '1' and rule_status(namespace, id) or 'disabled'
  return {config, status, state[1] or '0', state[2] or '0', state[3] or '0'}
end

-- look_at_rule evaluates a rule that was stored or switched on while its
-- condition may hold already: no value need change for it to be seen.
local function look_at_rule(namespace, id, now)
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if rule and rule.enabled then
    step_rule(namespace, rule, rule_status(namespace, id), now, {})
  end
end
