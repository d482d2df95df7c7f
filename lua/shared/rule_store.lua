-- Keeping rules: bindings and state go with the rule.

local rule_limit = 20000            -- rules of a site
local watcher_limit = 1000          -- rules that watch one source
local loop_steps = 2000             -- rules that are looked at in search of a loop

-- Words that stand in the paths of the API where the id of a rule could stand.
local rule_words = {events = true, export = true, import = true, reload = true, test = true}

-- check_rule_id accepts an id under which the API can tell of a rule.
local function check_rule_id(id)
  if rule_words[id] then
    refuse('INVALID', 'rule id ' .. shown(id) .. ' is a word of the API, /api/rules/' .. id .. ': take another')
  end
  return check_id('rule id', id)
end

-- What the decoder cannot tell from what is meant: to it [] and {} are the same,
-- and so are 2 and 2.0.
local other_forms = {'"actions"%s*:%s*{', '"conditions"%s*:%s*{', '"days"%s*:%s*{', '"params"%s*:%s*%[', '"schedule"%s*:%s*%[',
  '"priority"%s*:%s*%-?%d*[.eE]'}

-- check_schedule checks the form; rulesrv, which knows time zones, works out when
-- a schedule is in force.
local function check_schedule(schedule)
  check_types('schedule.', schedule, {'time_zone', 'string', 'days', 'table', 'from', 'string', 'to', 'string'})
  for name, day in pairs(schedule.days or {}) do
    if type(name) ~= 'number' or type(day) ~= 'string' then
      refuse('INVALID', 'schedule.days must be a list of texts')
    end
  end
end

-- check_rule checks a rule and returns the sources that it watches.
local function check_rule(rule)
  local sources, seen = {}, {}
  check_types('', rule, {'name', 'string', 'description', 'string', 'enabled', 'boolean', 'priority', 'number', 'logic', 'string',
    'hysteresis', 'number', 'on_delay', 'string', 'off_delay', 'string', 'cooldown', 'string', 'schedule', 'table', 'bad_input', 'string',
    'conditions', 'table', 'actions', 'table'})
  check_text('name', rule.name or '', 0, 1048576)
  check_text('description', rule.description or '', 0, 1048576)
  local budget = {left = condition_limit, bounded = false, inverted = false, hysteresis = rule.hysteresis or 0}
  check_conditions('', rule.logic, rule.conditions, 1, budget, function(source)
    if not seen[source] then
      seen[source] = true
      sources[#sources + 1] = source
    end
  end)
  local priority, hysteresis = rule.priority or 0, rule.hysteresis or 0
  if not is_finite(priority) or priority % 1 ~= 0 or priority < 0 or priority > 1000 then
    refuse('INVALID', 'priority must be a whole number from 0 to 1000')
  elseif not is_finite(hysteresis) or hysteresis < 0 then
    refuse('INVALID', 'hysteresis must be a number of 0 or more')
  end
  for _, name in ipairs({'on_delay', 'off_delay', 'cooldown'}) do
    parse_duration(name, rule[name], window_most)
  end
  if check_moment('', rule.logic, rule.conditions) then
    for _, name in ipairs({'on_delay', 'off_delay', 'hysteresis'}) do
      if rule[name] ~= nil and rule[name] ~= '' and rule[name] ~= 0 then
        refuse('INVALID', name .. ' has no use for changed, rising and falling: an edge is a moment')
      end
    end
  elseif hysteresis > 0 and not budget.bounded then
    refuse('INVALID', 'hysteresis has no use for ==, != and in: they compare exactly; it is for > >= < <= and between')
  end
  local bad_input = rule.bad_input
  if bad_input ~= nil and bad_input ~= '' and bad_input ~= 'ignore' and bad_input ~= 'false' and bad_input ~= 'alarm' then
    refuse('INVALID', 'bad_input ' .. shown(tostring(bad_input)) .. ' is unknown: use ignore, false or alarm')
  end
  check_schedule(rule.schedule or {})
  if #(rule.actions or {}) > 20 then
    refuse('INVALID', 'actions must be a list of at most 20')
  end
  local raises = false
  for i, action in ipairs(rule.actions or {}) do
    local path = 'actions[' .. (i - 1) .. ']'
    check_action(path, action)
    if raises and action.type == 'create_alarm' then
      refuse('INVALID', path .. ': a rule raises one alarm: a second create_alarm would count as the same')
    end
    raises = raises or action.type == 'create_alarm'
  end
  return sources
end

-- read_rule decodes a rule, checks it, and returns it with the sources that it
-- watches. What everybody else must be able to read, too, is looked at last: the
-- checks before it tell the place of a fault.
local function read_rule(text)
  local rule = decode_object('the rule', text)
  local sources, plain = check_rule(rule), check_json('the rule', text)
  for _, form in ipairs(other_forms) do
    if string.find(plain, form) then
      refuse('INVALID', 'actions, conditions and days must be lists, params and schedule objects, and priority a whole number')
    end
  end
  return rule, sources
end

-- index_of returns the hash and field under which a source leads to rules.
local function index_of(source)
  local kind, first, second, third = split_source('source', source)
  if kind == 'point' then
    return first .. ':' .. second, third
  elseif kind == 'model' then
    return 'modsrv', first .. ':' .. second
  end
  return 'custom', first
end

-- targets_of returns, as index and field, what the actions of a rule change.
local function targets_of(rule)
  local targets = {}
  for _, action in ipairs(rule.actions or {}) do
    local params = action.params or {}
    if action.type == 'set_value' then
      targets[#targets + 1] = {'custom', params.name}
    elseif action.type == 'control' then
      local channel, kind, point = check_source('target', params.target)
      targets[#targets + 1] = {channel .. ':' .. kind, point}
    end
  end
  return targets
end

-- watchers_of returns the ids of the rules that watch a target, through models too.
local function watchers_of(namespace, cache, target)
  local ids = {}
  if target[1] == 'custom' then
    for id in string.gmatch(redis.call('HGET', namespace .. 'rulesrv:index:custom', target[2]) or '', '%S+') do
      ids[#ids + 1] = id
    end
    return ids
  end
  local bound = watched(namespace, cache, target[1])
  return bound and bound[target[2]] and bound[target[2]].ids or ids
end

-- check_loop refuses a rule whose actions lead, over other rules or at once, to
-- what it watches itself.
local function check_loop(namespace, rule, sources)
  local own = {}
  local function watch(index, field)
    own[index .. ' ' .. field] = true
  end
  for _, source in ipairs(sources) do
    watch(index_of(source))
    local kind, model, name = split_source('source', source)
    for _, point in ipairs(kind == 'model' and model_points(namespace, model, name) or {}) do
      watch(point.channel .. ':' .. point.kind, point.point)
    end
  end
  local cache, seen, steps = cached_rules(namespace), {}, 0
  local function follow(actor, path)
    for _, target in ipairs(targets_of(actor)) do
      if own[target[1] .. ' ' .. target[2]] then
        refuse('CONFLICT', 'rules would set off one another without end: ' .. path .. ' -> ' .. rule.id)
      end
      for _, id in ipairs(watchers_of(namespace, cache, target)) do
        steps = steps + 1
        if id ~= rule.id and not seen[id] and steps <= loop_steps then
          seen[id] = true
          local config = redis.call('HGET', namespace .. 'rulesrv:rule:' .. id, 'config')
          if config then
            follow(decode_object('the rule', config), path .. ' -> ' .. id)
          end
        end
      end
    end
  end
  follow(rule, rule.id)
end

-- check_room refuses a rule for a source that has as many rules as one change of its
-- value can evaluate.
local function check_room(namespace, id, sources)
  for _, source in ipairs(sources) do
    local index, field = index_of(source)
    local count = 0
    for other in string.gmatch(redis.call('HGET', namespace .. 'rulesrv:index:' .. index, field) or '', '%S+') do
      count = count + (other ~= id and 1 or 0)
    end
    if count >= watcher_limit then
      refuse('FULL', source .. ' is watched by ' .. watcher_limit .. ' rules, as many as one source may have')
    end
  end
end

-- bind_rule enters a rule into the indexes of what it watches.
local function bind_rule(namespace, id, sources)
  for _, source in ipairs(sources) do
    local index, field = index_of(source)
    local key = namespace .. 'rulesrv:index:' .. index
    local others = redis.call('HGET', key, field)
    redis.call('HSET', key, field, (others and others .. ' ' or '') .. id)
  end
end

local function unbind_rule(namespace, id, sources)
  for source in string.gmatch(sources, '%S+') do
    local index, field = index_of(source)
    local key, kept = namespace .. 'rulesrv:index:' .. index, {}
    for other in string.gmatch(redis.call('HGET', key, field) or '', '%S+') do
      if other ~= id then
        kept[#kept + 1] = other
      end
    end
    if #kept == 0 then
      redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, table.concat(kept, ' '))
    end
  end
end

-- check_by returns who asks for something, nil where that is not said.
local function check_by(by)
  return (by or '') ~= '' and check_line('by', by, 1, 100) or nil
end

-- tell_handled keeps that somebody switched a rule on or off, or removed it.
local function tell_handled(namespace, id, what, now, by)
  redis.call('XADD', namespace .. 'rulesrv:events', 'MAXLEN', '~', event_limit, '*', 'rule', id, 'from', '', 'to', what, 'time', now,
    'by', by or '', 'values', '{}')
end

-- rest_rule takes a rule back to idle, with all that follows, and forgets what it
-- remembers. by (nil where nobody is named) and why go into the journal of alarms.
local function rest_rule(namespace, rule, now, by, why)
  local ctx = rule_context(namespace, now)
  ctx.by, ctx.why = by, why
  local standing = redis.call('HGET', namespace .. 'rulesrv:standing', rule.id)
  if standing then
    rule_moved(ctx, rule, string.match(standing, '^%a+'), 'idle', now)
  end
  if rule.bad_input == 'alarm' then
    alarm_clear_definition(namespace, rule.id, 'rulesrv:' .. rule.id .. ':input', now, actor(ctx, rule), why)
  end
  redis.call('HDEL', namespace .. 'rulesrv:memory', rule.id)
  redis.call('ZREM', namespace .. 'rulesrv:due', rule.id)
end

-- remove_rule takes a rule, its bindings and its state away, and clears the
-- alarm that it holds active. It returns false when there is no such rule.
local function remove_rule(namespace, id, now, by, why)
  local call = redis.call
  local key = namespace .. 'rulesrv:rule:' .. id
  local sources = call('HGET', key, 'sources')
  if not sources then
    return false
  end
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if rule then
    rest_rule(namespace, rule, now, by, why)
  else -- a text of which nothing can be made
    call('HDEL', namespace .. 'rulesrv:standing', id)
    call('HDEL', namespace .. 'rulesrv:memory', id)
    call('ZREM', namespace .. 'rulesrv:due', id)
  end
  unbind_rule(namespace, id, sources)
  call('DEL', key, namespace .. 'rulesrv:state:' .. id, namespace .. 'rulesrv:firings:' .. id)
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
  local standing = redis.call('HGET', namespace .. 'rulesrv:standing', id)
  local status = enabled == '1' and (standing and string.match(standing, '^%a+') or 'idle') or 'disabled'
  return {config, status, state[1] or '0', state[2] or '0', state[3] or '0'}
end

-- look_at_rule evaluates a rule that was stored or switched on while its
-- condition may hold already: no value need change for it to be seen.
local function look_at_rule(namespace, id, now)
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  if not rule or not rule.enabled then
    return 'disabled', false
  end
  local ctx = rule_context(namespace, now)
  if rule.ticks then
    look_again(ctx, rule, ctx.at + tick_period)
  end
  return step_rule(ctx, rule, redis.call('HGET', namespace .. 'rulesrv:standing', id), now)
end
