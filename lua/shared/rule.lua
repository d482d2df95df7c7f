-- Rules: checked when stored, compiled once per version, evaluated for the
-- points that changed.

local operators = {['>'] = true, ['>='] = true, ['<'] = true, ['<='] = true, ['=='] = true, ['!='] = true}
local action_limit = 10000          -- waiting actions of the site

-- check_types refuses a field, where it is given, that is not of the type that
-- follows its name.
local function check_types(path, object, types)
  for i = 1, #types, 2 do
    local field = object[types[i]]
    if field ~= nil and type(field) ~= types[i + 1] then
      refuse('INVALID', path .. types[i] .. ' must be a ' .. types[i + 1])
    end
  end
end

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
    end
    check_types(here, condition, {'source', 'string', 'operator', 'string', 'logic', 'string', 'value', 'number'})
    if condition.conditions then
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
  check_types('', rule, {'name', 'string', 'enabled', 'boolean', 'logic', 'string'})
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

-- hash_state returns what holds for all points of a hash: whether any is marked,
-- whether any is of a poll group of its own, and when the default group and the
-- others last succeeded. It is kept for the rest of the call.
local function hash_state(node, now, inputs)
  inputs.hashes = inputs.hashes or {}
  local state = inputs.hashes[node.key]
  if not state then
    local call = redis.call
    local stale_after, success = unpack(call('HMGET', node.status, 'stale_after_ms', 'group:default'))
    state = {marked = call('EXISTS', node.key .. ':q') == 1, grouped = call('EXISTS', node.key .. ':g') == 1,
      oldest = tonumber(now) - tonumber(stale_after or default_stale_after), groups = {default = tonumber(success or 0)}}
    inputs.hashes[node.key] = state
  end
  return state
end

-- is_usable reports whether a point that is not of this batch may be acted on: it
-- is good, and its poll group has succeeded within the channel's stale_after_ms.
local function is_usable(node, now, inputs)
  local call, state = redis.call, hash_state(node, now, inputs)
  if state.marked and call('HEXISTS', node.key .. ':q', node.point) == 1 then
    return false
  end
  local group = state.grouped and call('HGET', node.key .. ':g', node.point) or 'default'
  if not state.groups[group] then
    state.groups[group] = tonumber(call('HGET', node.status, 'group:' .. group) or 0)
  end
  return state.groups[group] >= state.oldest or tonumber(call('HGET', node.key .. ':ts', node.point) or 0) >= state.oldest
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
    number = text and is_usable(node, now, inputs) and tonumber(text)
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
  redis.call('HDEL', namespace .. 'rulesrv:standing', rule.id)
  redis.call('HSET', namespace .. 'rulesrv:state:' .. rule.id, 'since', now)
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

-- rule_status returns active or idle. Only rules that are not idle stand in the
-- hash, so that a site at rest costs one look for all of its rules.
local function rule_status(namespace, id)
  return redis.call('HGET', namespace .. 'rulesrv:standing', id) or 'idle'
end

-- step_rule evaluates one rule, whose status the caller knows, and acts on an
-- edge. It returns the status and whether it changed.
local function step_rule(namespace, rule, status, now, inputs)
  local outcome = holds(rule.nodes, rule.any, now, inputs)
  if outcome == true and status ~= 'active' then
    local key = namespace .. 'rulesrv:state:' .. rule.id
    redis.call('HSET', namespace .. 'rulesrv:standing', rule.id, 'active')
    redis.call('HSET', key, 'since', now, 'last_fired', now)
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

-- watched_points returns the cache of rules and, for each point of a channel and
-- type that some rule watches, the ids of those rules; nil where none does.
local function watched_points(namespace, channel, kind)
  local cache, index = cached_rules(namespace), channel .. ':' .. kind
  if cache.version == '' then
    return nil
  end
  local bound = cache.bound[index]
  if bound == nil then
    bound = {}
    local fields = redis.call('HGETALL', namespace .. 'rulesrv:index:' .. index)
    for i = 1, #fields, 2 do
      local ids = {}
      for id in string.gmatch(fields[i + 1], '%S+') do
        ids[#ids + 1] = id
      end
      bound[fields[i]] = ids
    end
    bound = next(bound) and bound or false
    cache.bound[index] = bound
  end
  return cache, bound or nil
end

-- run_rules evaluates the rules of bound that watch the points of a batch, whose
-- numbers are given by point. It returns how many changed.
local function run_rules(namespace, cache, bound, base, numbers, now)
  local inputs, due, done = {base = base, numbers = numbers}, {}, {}
  for point, ids in pairs(bound) do
    if numbers[point] then
      for _, id in ipairs(ids) do
        if not done[id] then
          done[id] = true
          due[#due + 1] = id
        end
      end
    end
  end
  if #due == 0 then
    return 0
  end
  table.sort(due)
  local standing, changed = namespace .. 'rulesrv:standing', 0
  local statuses = redis.call('EXISTS', standing) == 1 and redis.call('HMGET', standing, unpack(due)) or {}
  for i, id in ipairs(due) do
    local rule = compiled_rule(namespace, cache, id)
    if rule and rule.enabled then
      local _, moved = step_rule(namespace, rule, statuses[i] or 'idle', now, inputs)
      changed = changed + (moved and 1 or 0)
    end
  end
  return changed
end
