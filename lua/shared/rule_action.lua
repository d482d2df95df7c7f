-- What rules do: alarms, commands, notifications, messages and custom values.

local action_limit = 10000          -- waiting actions of the site
local event_limit = 10000           -- changes of state that are kept
local firing_limit = 20             -- that are kept of each rule
local firing_period = 60000         -- ms, within which a rule that fires that often controls nothing more

-- check_action checks one action.
local function check_action(path, action)
  local params = type(action) == 'table' and (action.params or {})
  if type(params) ~= 'table' then
    refuse('INVALID', path .. ' is not an action')
  end
  check_types(path .. '.', action, {'type', 'string', 'when', 'string', 'params', 'table'})
  local function text(name, least, most)
    if type(params[name] or '') ~= 'string' then
      refuse('INVALID', path .. '.params.' .. name .. ' must be a text')
    end
    return check_text(path .. '.params.' .. name, params[name] or '', least, most)
  end
  local function number()
    if not is_finite(params.value) then
      refuse('INVALID', path .. '.params.value must be a finite number')
    end
  end
  if action.when ~= nil and action.when ~= '' and action.when ~= 'active' and action.when ~= 'idle' then
    refuse('INVALID', path .. '.when ' .. shown(tostring(action.when)) .. ' is unknown: use active or idle')
  end
  if action.type == 'create_alarm' then
    if not level_rank[params.level] then
      refuse('INVALID', path .. '.params.level ' .. shown(tostring(params.level)) .. ' is unknown: use Critical, Major, Minor, Warning or Info')
    end
    check_line(path .. '.params.title', text('title', 1, 200), 1, 200)
    text('description', 0, 2000)
    if action.when == 'idle' then
      refuse('INVALID', path .. '.when: an alarm is raised when the rule becomes active, and clears when it becomes idle')
    end
  elseif action.type == 'resolve_alarm' then
    check_id(path .. '.params.rule', text('rule', 1, 64))
  elseif action.type == 'notify' then
    text('message', 1, 2000)
    if string.find(text('to', 0, 200), '[\t\n]') then
      refuse('INVALID', path .. '.params.to holds a control character')
    end
  elseif action.type == 'publish' then
    check_id(path .. '.params.channel', text('channel', 1, 64))
    text('message', 1, 2000)
  elseif action.type == 'control' then
    local _, kind = check_source(path .. '.params.target', params.target)
    if kind ~= 'C' and kind ~= 'A' then
      refuse('INVALID', path .. '.params.target ' .. shown(params.target) .. ' cannot be written: name a point of type C or A')
    end
    number()
    parse_duration(path .. '.params.deadline', params.deadline, 3600000)
  elseif action.type == 'set_value' then
    check_id(path .. '.params.name', text('name', 1, 64))
    number()
  else
    refuse('INVALID', path .. '.type ' .. shown(tostring(action.type))
      .. ' is unknown: use create_alarm, resolve_alarm, control, notify, publish or set_value')
  end
end

-- queue_notify tells people something, or where to is not empty one of them.
local function queue_notify(namespace, rule, message, to, now)
  queue_notice(namespace, namespace .. 'rulesrv:actions', action_limit, namespace .. 'rulesrv:counters', 'actions_dropped',
    'rule', rule.id, 'type', 'notify', 'message', message, 'to', to, 'time', now)
end

-- values_seen returns the numbers that a rule asked for, as JSON.
local function values_seen(ctx, rule)
  local seen = {}
  for i, node in ipairs(rule.nodes) do
    local number = ctx.numbers[node.slot]
    seen[i] = cjson.encode(node.source) .. ':' .. (number and '"' .. string.format('%.6f', number) .. '"' or 'null')
  end
  return '{' .. table.concat(seen, ',') .. '}'
end

-- tell_rule keeps and publishes a change of state.
local function tell_rule(ctx, rule, from, to, now)
  local call, namespace = redis.call, ctx.namespace
  local values = values_seen(ctx, rule)
  call('XADD', namespace .. 'rulesrv:events', 'MAXLEN', '~', event_limit, '*', 'rule', rule.id, 'from', from, 'to', to, 'time', now, 'values', values)
  if to == 'active' and from ~= 'clearing' then
    local firings = namespace .. 'rulesrv:firings:' .. rule.id
    call('LPUSH', firings, '{"time":' .. now .. ',"values":' .. values .. '}')
    call('LTRIM', firings, 0, firing_limit - 1)
  end
  call('PUBLISH', namespace .. 'rulesrv:triggered', '{"rule":' .. cjson.encode(rule.id) .. ',"from":"' .. from .. '","status":"' .. to .. '","time":' .. now .. '}')
end

-- actor returns who acts: a person who has the actions carried out, or the rule.
local function actor(ctx, rule)
  return ctx.by or 'rule:' .. rule.id
end

-- cascade holds what rule.lua defines: set_value, because actions set values, and
-- values set off rules, which act; and first_source, of a rule by its id.
local cascade = {}

-- fires_too_often reports whether a rule has fired so often within a minute that it
-- must be setting off itself, over the device that it controls: as a model may be
-- mapped later, that is not always seen when a rule is stored.
local function fires_too_often(namespace, rule, now)
  local firing = redis.call('LINDEX', namespace .. 'rulesrv:firings:' .. rule.id, firing_limit - 1)
  local time = firing and tonumber(string.match(firing, '^{"time":(%d+)'))
  return time and tonumber(now) - time < firing_period
end

-- order_control queues a command. A full queue is told to the people instead of
-- failing the values that came with it.
local function order_control(ctx, rule, index, params, now)
  local namespace = ctx.namespace
  if fires_too_often(namespace, rule, now) then
    alarm_raise(namespace, now, {source = 'rulesrv:' .. rule.id .. ':control', rule = 'rule_cascade', level = 'Major', worse = '', value = '',
      title = 'A rule controls too often', description = 'Rule ' .. rule.id .. ' became active ' .. firing_limit
        .. ' times within a minute: ' .. params.target .. ' was not set again. Does the rule watch what it controls?'})
    return
  end
  local channel, kind, point = check_source('target', params.target)
  local lifetime = parse_duration('deadline', params.deadline, 3600000)
  local queued, fault = pcall(queue_command, namespace, channel, {id = 'rule-' .. rule.id .. '-' .. index .. '-' .. now, kind = kind,
    point = point, value = string.format('%.6f', params.value), issued = now,
    deadline = string.format('%.0f', tonumber(now) + (lifetime > 0 and lifetime or 5000)), origin = actor(ctx, rule)})
  if not queued and not (type(fault) == 'table' and fault.refused) then
    error(fault)
  elseif not queued then
    queue_notify(namespace, rule, 'control of ' .. params.target .. ' was not queued: too many commands wait', '', now)
  end
end

-- carry_out does one action.
local function carry_out(ctx, rule, index, kind, params, now)
  local namespace = ctx.namespace
  if kind == 'create_alarm' then
    local value = ctx.numbers[rule.first.slot]
    alarm_raise(namespace, now, {source = rule.first.source, rule = rule.id, level = params.level, title = params.title,
      description = params.description or '', value = value and string.format('%.6f', value) or '', worse = rule.worse, by = ctx.by})
  elseif kind == 'resolve_alarm' then
    local source = cascade.first_source(namespace, params.rule)
    if source then
      alarm_clear_definition(namespace, params.rule, source, now, actor(ctx, rule))
    end
  elseif kind == 'notify' then
    queue_notify(namespace, rule, params.message, params.to or '', now)
  elseif kind == 'publish' then
    redis.call('PUBLISH', namespace .. 'rulesrv:published:' .. params.channel, params.message)
  elseif kind == 'set_value' then
    cascade.set_value(ctx, params.name, string.format('%.6f', params.value), now)
  else
    order_control(ctx, rule, index, params, now)
  end
end

-- act carries out what a rule does on becoming active or idle, and returns how
-- many actions that were.
local function act(ctx, rule, when, now)
  local done = 0
  for index, action in ipairs(rule.actions) do
    local at = (action.when or '') == '' and 'active' or action.when
    if at == when then
      carry_out(ctx, rule, index, action.type, action.params or {}, now)
      done = done + 1
    end
  end
  return done
end
