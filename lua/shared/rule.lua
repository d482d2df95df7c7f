-- Rules: checked when stored, compiled once per version, evaluated for the
-- points that changed.

local operators = {['>'] = true, ['>='] = true, ['<'] = true, ['<='] = true, ['=='] = true, ['!='] = true}
local action_limit = 10000          -- waiting actions of the site

-- check_conditions walks a tree of conditions and calls bind for every source.
local function check_conditions(path, logic, conditions, depth, budget, bind)
  if logic ~= nil and logic ~= 'AND' and logic ~= 'OR' then
    refuse('INVALID', path .. 'logic must be AND or OR')
  end
  if type(conditions) ~= 'table' or #conditions == 0 then
    refuse('INVALID', path .. 'conditions must hold at least one condition')
  end
  if depth > 8 then
    refuse('INVALID', path .. 'conditions are nested deeper than 8')
  end
  for i, condition in ipairs(conditions) do
    local here = path .. 'conditions[' .. (i - 1) .. '].'
    budget.left = budget.left - 1
    if budget.left < 0 then
      refuse('INVALID', here .. ' more than 100 conditions')
    end
    if type(condition) ~= 'table' then
      refuse('INVALID', here .. ' is not a condition')
    elseif condition.conditions then
      check_conditions(here, condition.logic, condition.conditions, depth + 1, budget, bind)
    else
      local channel, kind, point = check_source(here .. 'source', condition.source)
      if not operators[condition.operator] then
        refuse('INVALID', here .. 'operator ' .. shown(tostring(condition.operator)) .. ' is unknown: use > >= < <= == or !=')
      end
      local value = condition.value
      if type(value) ~= 'number' or value ~= value or value == math.huge or value == -math.huge then
        refuse('INVALID', here .. 'value must be a finite number')
      end
      bind(channel, kind, point)
    end
  end
end

local function check_action(path, action)
  local params = type(action) == 'table' and (action.params or {})
  if type(params) ~= 'table' then
    refuse('INVALID', path .. ' is not an action')
  end
  local function text(name, least, most)
    if type(params[name] or '') ~= 'string' then
      refuse('INVALID', path .. '.params.' .. name .. ' must be a text')
    end
    return check_text(path .. '.params.' .. name, params[name] or '', least, most)
  end
  if action.type == 'create_alarm' then
    check_level(params.level)
    text('title', 1, 200)
    text('description', 0, 2000)
  elseif action.type == 'resolve_alarm' then
    check_id(path .. '.params.rule', text('rule', 1, 64))
  elseif action.type == 'notify' then
    text('message', 1, 2000)
  elseif action.type == 'control' then
    local _, kind = check_source(path .. '.params.target', params.target)
    check_writable(kind)
    local value = params.value
    if type(value) ~= 'number' or value ~= value or value == math.huge or value == -math.huge then
      refuse('INVALID', path .. '.params.value must be a finite number')
    end
  else
    refuse('INVALID', path .. '.type ' .. shown(tostring(action.type)) .. ' is unknown: use create_alarm, resolve_alarm, control or notify')
  end
end

-- check_rule returns the points that a rule watches: {'1001:T' = {'1', …}}.
local function check_rule(rule)
  local bound = {}
  check_conditions('', rule.logic, rule.conditions, 1, {left = 100}, function(channel, kind, point)
    local index = channel .. ':' .. kind
    bound[index] = bound[index] or {}
    bound[index][point] = true
  end)
  if type(rule.actions or {}) ~= 'table' or #(rule.actions or {}) > 20 then
    refuse('INVALID', 'actions must be a list of at most 20')
  end
  for i, action in ipairs(rule.actions or {}) do
    check_action('actions[' .. (i - 1) .. ']', action)
  end
  return bound
end

-- compile turns sources into keys, so that evaluation only reads and compares.
local function compile_conditions(namespace, conditions)
  local compiled = {}
  for i, condition in ipairs(conditions) do
    if condition.conditions then
      compiled[i] = {any = condition.logic == 'OR', nodes = compile_conditions(namespace, condition.conditions)}
    else
      local channel, kind, point = check_source('source', condition.source)
      local key = namespace .. 'comsrv:' .. channel .. ':' .. kind
      compiled[i] = {key = key, point = point, name = key .. ':' .. point, status = namespace .. 'comsrv:' .. channel .. ':status',
        operator = condition.operator, value = condition.value, source = condition.source}
    end
  end
  return compiled
end

local function first_source(nodes)
  return nodes[1].source and nodes[1] or first_source(nodes[1].nodes)
end

-- Compiled rules by namespace. A function forgets nothing between calls, so the
-- cache is checked against the stored version on every call.
local rule_cache = {}

local function cached_rules(namespace)
  local version = redis.call('GET', namespace .. 'rulesrv:version') or ''
  local cache = rule_cache[namespace]
  if not cache or cache.version ~= version then
    cache = {version = version, bound = {}, rules = {}}
    rule_cache[namespace] = cache
  end
  return cache
end

-- touch_rules makes every cache of this namespace out of date.
local function touch_rules(namespace, now)
  local sequence = redis.call('INCR', namespace .. 'rulesrv:sequence')
  redis.call('SET', namespace .. 'rulesrv:version', now .. '-' .. string.format('%d', sequence))
end

-- compiled_rule returns a rule ready to run, nil when there is none.
local function compiled_rule(namespace, cache, id)
  local rule = cache.rules[id]
  if rule == nil then
    local config, enabled = unpack(redis.call('HMGET', namespace .. 'rulesrv:rule:' .. id, 'config', 'enabled'))
    if not config then
      return nil
    end
    local decoded = decode_object('the rule', config)
    rule = {id = id, enabled = enabled == '1', any = decoded.logic == 'OR',
      nodes = compile_conditions(namespace, decoded.conditions), actions = decoded.actions or {}}
    rule.first = first_source(rule.nodes)
    cache.rules[id] = rule
  end
  return rule
end

-- is_fresh reports whether a point that is not of this batch may be acted on:
-- its poll group has succeeded within the channel's stale_after_ms. What was
-- asked of a channel is kept for the rest of the call.
local function is_fresh(node, now, inputs)
  local call = redis.call
  inputs.limits = inputs.limits or {}
  local limits = inputs.limits[node.status]
  if not limits then
    limits = {oldest = tonumber(now) - tonumber(call('HGET', node.status, 'stale_after_ms') or default_stale_after), groups = {}}
    inputs.limits[node.status] = limits
  end
  local group = call('HGET', node.key .. ':g', node.point) or 'default'
  if limits.groups[group] == nil then
    limits.groups[group] = tonumber(call('HGET', node.status, 'group:' .. group) or 0) >= limits.oldest
  end
  return limits.groups[group] or tonumber(call('HGET', node.key .. ':ts', node.point) or 0) >= limits.oldest
end

-- input returns the number behind a condition, nil when there is none that may
-- be acted on: bad, stale and uncertain inputs trigger nothing. inputs holds the
-- numbers of the batch, as text, and what was read before in this call.
local function input(node, now, inputs)
  if node.key == inputs.base then
    local text = inputs.numbers[node.point]
    if text then
      return tonumber(text)
    end
  end
  local number = inputs[node.name]
  if number == nil then
    local text = redis.call('HGET', node.key, node.point)
    number = text and redis.call('HEXISTS', node.key .. ':q', node.point) == 0 and is_fresh(node, now, inputs) and tonumber(text)
    inputs[node.name] = number or false
  end
  return number or nil
end

local function compare(left, operator, right)
  if operator == '>' then return left > right end
  if operator == '>=' then return left >= right end
  if operator == '<' then return left < right end
  if operator == '<=' then return left <= right end
  if operator == '==' then return left == right end
  return left ~= right
end

-- holds returns true, false, or nil when a missing input decides.
local function holds(nodes, any, now, inputs)
  local unknown = false
  for _, node in ipairs(nodes) do
    local outcome
    if node.nodes then
      outcome = holds(node.nodes, node.any, now, inputs)
    else
      local number = input(node, now, inputs)
      if number ~= nil then
        outcome = compare(number, node.operator, node.value)
      end
    end
    if outcome == nil then
      unknown = true
    elseif outcome == any then
      return any
    end
  end
  if unknown then
    return nil
  end
  return not any
end

local function tell_rule(namespace, rule, status, now)
  redis.call('PUBLISH', namespace .. 'rulesrv:triggered',
    '{"rule":' .. cjson.encode(rule.id) .. ',"status":"' .. status .. '","time":' .. now .. '}')
end

-- clear_rule_alarms clears the alarm that a rule holds active on a source.
local function clear_rule_alarm(namespace, rule_id, source, now)
  local id = redis.call('HGET', namespace .. 'alarmsrv:open', rule_id .. '|' .. source)
  if id then
    alarm_clear(namespace, id, now, 'rule:' .. rule_id)
  end
end

-- rule_idle takes a rule back to idle.
local function rule_idle(namespace, rule, now)
  redis.call('HSET', namespace .. 'rulesrv:state:' .. rule.id, 'status', 'idle', 'since', now)
  clear_rule_alarm(namespace, rule.id, rule.first.source, now)
  tell_rule(namespace, rule, 'idle', now)
end

local function queue_action(namespace, rule, message, now)
  local stream = namespace .. 'rulesrv:actions'
  if redis.call('XLEN', stream) >= action_limit then
    redis.call('HINCRBY', namespace .. 'rulesrv:counters', 'actions_dropped', 1)
    return
  end
  redis.call('XADD', stream, '*', 'rule', rule.id, 'type', 'notify', 'message', message, 'time', now)
end

-- act carries out what a rule does on becoming active. A full command queue is
-- told to the people instead of failing the values that came with it.
local function act(namespace, rule, now, inputs)
  for index, action in ipairs(rule.actions) do
    local params = action.params or {}
    if action.type == 'create_alarm' then
      local value = input(rule.first, now, inputs)
      alarm_raise(namespace, now, {source = rule.first.source, rule = rule.id, level = params.level,
        title = params.title, description = params.description or '', value = value and string.format('%.6f', value) or ''})
    elseif action.type == 'resolve_alarm' then
      clear_rule_alarm(namespace, params.rule, rule.first.source, now)
    elseif action.type == 'notify' then
      queue_action(namespace, rule, params.message, now)
    else
      local channel, kind, point = check_source('target', params.target)
      local queued, fault = pcall(queue_command, namespace, channel, {id = 'rule-' .. rule.id .. '-' .. index .. '-' .. now, kind = kind,
        point = point, value = string.format('%.6f', params.value), issued = now, deadline = string.format('%.0f', tonumber(now) + 5000),
        origin = 'rule:' .. rule.id})
      if not queued and not (type(fault) == 'table' and fault.refused) then
        error(fault)
      elseif not queued then
        queue_action(namespace, rule, 'control of ' .. params.target .. ' was not queued: too many commands wait', now)
      end
    end
  end
end

-- step_rule evaluates one rule and acts on an edge. It returns the status and
-- whether it changed.
local function step_rule(namespace, rule, now, inputs)
  local key = namespace .. 'rulesrv:state:' .. rule.id
  local status = redis.call('HGET', key, 'status') or 'idle'
  local outcome = holds(rule.nodes, rule.any, now, inputs)
  if outcome == true and status ~= 'active' then
    redis.call('HSET', key, 'status', 'active', 'since', now, 'last_fired', now)
    redis.call('HINCRBY', key, 'fired', 1)
    act(namespace, rule, now, inputs)
    tell_rule(namespace, rule, 'active', now)
    return 'active', true
  elseif outcome == false and status == 'active' then
    rule_idle(namespace, rule, now)
    return 'idle', true
  end
  return status, false
end

-- run_rules evaluates the rules bound to the points of a batch. inputs holds
-- the hash of the batch and its numbers by point. It returns how many changed.
local function run_rules(namespace, channel, kind, points, now, inputs)
  local cache = cached_rules(namespace)
  if cache.version == '' then
    return 0
  end
  local index = channel .. ':' .. kind
  local bound = cache.bound[index]
  if bound == nil then
    bound = {}
    local pairs_list = redis.call('HGETALL', namespace .. 'rulesrv:index:' .. index)
    for i = 1, #pairs_list, 2 do
      local ids = {}
      for id in string.gmatch(pairs_list[i + 1], '%S+') do
        ids[#ids + 1] = id
      end
      bound[pairs_list[i]] = ids
    end
    cache.bound[index] = bound
  end
  local done, changed = {}, 0
  for i = 1, #points do
    for _, id in ipairs(bound[points[i]] or {}) do
      if not done[id] then
        done[id] = true
        local rule = compiled_rule(namespace, cache, id)
        if rule and rule.enabled then
          local _, moved = step_rule(namespace, rule, now, inputs)
          changed = changed + (moved and 1 or 0)
        end
      end
    end
  end
  return changed
end
