-- Rules: compiled once per version of the rules and models, evaluated for the
-- points that changed, and moved from state to state:
--
--	idle -> pending (on-delay runs) -> active -> clearing (off-delay runs) -> idle
--
-- An edge is a moment: a rule that waits for one becomes active and idle again in
-- the same step. Rules that are not idle stand in one hash, "state since": a site at rest costs
-- one look for all of its rules.

local cascade_limit = 8             -- rules that set off one another in one call
local tick_period = 1000            -- ms, of rules that time alone may change
local input_grace = 10000           -- ms, for which an input cannot be used before an alarm says so

-- Compiled rules by namespace. A function forgets nothing between calls, so the
-- cache is checked against the stored versions on every call.
local rule_cache = {}

local function cached_rules(namespace)
  local rules, models = unpack(redis.call('MGET', namespace .. 'rulesrv:version', namespace .. 'modsrv:version'))
  models = models or ''
  local cache = rule_cache[namespace]
  if not cache or cache.version ~= rules or cache.models ~= models then
    -- Where the models stay as they are, so do the points behind their names.
    local behind = rules and cache and cache.version and cache.models == models and cache.behind or {}
    cache = {version = rules, models = models, bound = {}, rules = {}, made = rules and cache and cache.made or {}, behind = behind}
    rule_cache[namespace] = cache
  end
  return cache
end

-- touch_rules makes every cache of this namespace out of date. The time keeps a
-- version from returning after all keys were lost.
local function touch_rules(namespace, now)
  local sequence = redis.call('INCR', namespace .. 'rulesrv:sequence')
  redis.call('SET', namespace .. 'rulesrv:version', now .. '-' .. string.format('%d', sequence))
end

-- watched_models returns, by "channel:type", the points behind the model values
-- that rules watch, with the ids of those rules.
local function watched_models(namespace, cache)
  if not cache.by_hash then
    cache.by_hash = {}
    local fields = redis.call('HGETALL', namespace .. 'rulesrv:index:modsrv')
    for i = 1, #fields, 2 do
      local points = cache.behind[fields[i]]
      if not points then
        points = model_points(namespace, string.match(fields[i], '^([^:]+):([^:]+)$')) or {}
        cache.behind[fields[i]] = points
      end
      for _, point in ipairs(points) do
        local hash = point.channel .. ':' .. point.kind
        cache.by_hash[hash] = cache.by_hash[hash] or {}
        table.insert(cache.by_hash[hash], {point.point, fields[i + 1]})
      end
    end
  end
  return cache.by_hash
end

local function bind_ids(bound, hash, point, ids)
  local entry = bound[point]
  if not entry then
    entry = {slot = hash .. ':' .. point, ids = {}}
    bound[point] = entry
  end
  for id in string.gmatch(ids, '%S+') do
    entry.ids[#entry.ids + 1] = id
  end
end

-- watched returns, for each point of "channel:type" that some rule watches, its
-- slot and the ids of those rules; false where none does.
local function watched(namespace, cache, hash)
  local bound = cache.bound[hash]
  if bound == nil then
    bound = {}
    local fields = redis.call('HGETALL', namespace .. 'rulesrv:index:' .. hash)
    for i = 1, #fields, 2 do
      bind_ids(bound, hash, fields[i], fields[i + 1])
    end
    for _, entry in ipairs(watched_models(namespace, cache)[hash] or {}) do
      bind_ids(bound, hash, entry[1], entry[2])
    end
    bound = next(bound) and bound or false
    cache.bound[hash] = bound
  end
  return bound
end

-- watched_points returns the cache of rules, and what watched says of a channel
-- and type, nil where no rule watches them.
local function watched_points(namespace, channel, kind)
  local cache = cached_rules(namespace)
  if not cache.version then
    return nil
  end
  return cache, watched(namespace, cache, channel .. ':' .. kind) or nil
end

-- look_at_channel has rule_tick evaluate, in portions, all rules that watch a channel:
-- what it holds can be used again though no value changed. A mark is "*channel:type",
-- as no id of a rule begins.
local function look_at_channel(namespace, channel)
  if redis.call('EXISTS', namespace .. 'rulesrv:version') == 1 then
    local mark = '*' .. channel .. ':'
    redis.call('ZADD', namespace .. 'rulesrv:due', 0, mark .. 'T', 0, mark .. 'S', 0, mark .. 'C', 0, mark .. 'A')
  end
end

-- look_after_gap has the rules of a channel evaluated when a poll group succeeds at a
-- time after its values were stale for a while.
local function look_after_gap(namespace, channel, group, time)
  local success, stale_after = group_state(namespace .. 'comsrv:' .. channel .. ':status', group)
  if success > 0 and success < tonumber(time) - stale_after then
    look_at_channel(namespace, channel)
  end
end

-- compile_rule makes a rule ready to run.
local function compile_rule(namespace, config)
  local rule = {id = config.id, name = config.name or config.id, actions = config.actions or {}, count = 0, nodes = {},
    priority = config.priority or 0, bad_input = config.bad_input or 'ignore',
    on_delay = parse_duration('on_delay', config.on_delay, window_most), off_delay = parse_duration('off_delay', config.off_delay, window_most),
    cooldown = parse_duration('cooldown', config.cooldown, window_most), scheduled = config.schedule ~= nil, raises = false}
  for _, action in ipairs(rule.actions) do
    rule.raises = rule.raises or action.type == 'create_alarm'
  end
  rule.holds = compile_group(namespace, config.logic, config.conditions, {hysteresis = config.hysteresis or 0, bad_input = rule.bad_input}, rule)
  local code = rule.bad_input ~= 'alarm' and group_code(namespace, config.logic, config.conditions)
  rule.code = code and #code <= code_limit and code or nil
  rule.ticks = rule.window ~= nil or rule.scheduled or rule.bad_input ~= 'ignore'
  return rule
end

-- watches_models reports whether a rule has to be made anew when models change.
local function watches_models(rule)
  for _, node in ipairs(rule.nodes) do
    if string.sub(node.source, 1, 7) == 'modsrv:' then
      return true
    end
  end
  return false
end

-- compiled_rule returns a rule ready to run, false when there is none. What was made
-- of a text is used again as long as the text stays: a change of one rule costs the
-- others a look. A text of which nothing can be made is no rule.
local function compiled_rule(namespace, cache, id)
  local rule = cache.rules[id]
  if rule ~= nil then
    return rule
  end
  local text, enabled, windows = unpack(redis.call('HMGET', namespace .. 'rulesrv:rule:' .. id, 'config', 'enabled', 'windows'))
  rule = text and cache.made[id] or false
  if text and not (rule and rule.text == text and rule.models == (rule.models and cache.models)) then
    local sound
    sound, rule = pcall(function() return compile_rule(namespace, decode_object('the rule', text)) end)
    if sound then
      rule.text, rule.models = text, watches_models(rule) and cache.models
    else
      redis.log(redis.LOG_WARNING, 'rule ' .. id .. ' cannot be used: ' .. tostring(type(rule) == 'table' and rule.refused or rule))
      rule = false
    end
  end
  if rule then
    rule.enabled, rule.windows = enabled == '1', {}
    for from, till in string.gmatch(windows or '', '(%d+)-(%d+)') do
      table.insert(rule.windows, {tonumber(from), tonumber(till)})
    end
  end
  cache.made[id], cache.rules[id] = rule or nil, rule
  return rule
end

-- in_schedule reports whether a rule is to be in force at a time.
local function in_schedule(rule, at)
  if not rule.scheduled then
    return true
  end
  for _, window in ipairs(rule.windows) do
    if at >= window[1] and at < window[2] then
      return true
    end
  end
  return false
end

-- next_state is the state machine alone. known is the time up to which the
-- outcome is known to hold; delays run in it.
local function next_state(rule, state, since, last_fired, outcome, now, known)
  if state == 'idle' then
    if outcome ~= true or last_fired and now - last_fired < rule.cooldown then
      return 'idle', since
    end
    return rule.on_delay > 0 and 'pending' or 'active', now
  elseif outcome == nil then
    return state, since
  elseif state == 'pending' then
    if not outcome then
      return 'idle', now
    elseif known - since >= rule.on_delay then
      return 'active', now
    end
  elseif state == 'active' and not outcome then
    return rule.off_delay > 0 and 'clearing' or 'idle', now
  elseif state == 'clearing' then
    if outcome then
      return 'active', now
    elseif known - since >= rule.off_delay then
      return 'idle', now
    end
  end
  return state, since
end

-- judge evaluates the conditions of a rule that stands in a state. ctx.memory is
-- what it remembers, ctx.event the time up to which the outcome is known.
local function judge(ctx, rule, state)
  ctx.standing, ctx.event, ctx.unusable = state == 'active' or state == 'clearing', math.huge, nil
  local outcome = rule.holds(ctx)
  if ctx.event > ctx.at then
    ctx.event = ctx.at
  end
  if not in_schedule(rule, ctx.at) then
    return false
  end
  return outcome
end

-- delay_of returns how long a state lasts, nil where no delay ends it.
local function delay_of(rule, state)
  return state == 'pending' and rule.on_delay or state == 'clearing' and rule.off_delay or nil
end

-- look_again has rule_tick evaluate a rule at a time, or earlier if that was asked
-- for before.
local function look_again(ctx, rule, at)
  redis.call('ZADD', ctx.namespace .. 'rulesrv:due', 'LT', string.format('%.0f', at), rule.id)
end

-- rule_moved writes what follows from a change of state. ctx.by and ctx.why say who
-- brought it about and why, where that was not the rule's conditions.
local function rule_moved(ctx, rule, from, to, now)
  local call, namespace = redis.call, ctx.namespace
  local key = namespace .. 'rulesrv:state:' .. rule.id
  if to == 'idle' then
    call('HDEL', namespace .. 'rulesrv:standing', rule.id)
  else
    call('HSET', namespace .. 'rulesrv:standing', rule.id, to .. ' ' .. now)
  end
  local fires = to == 'active' and from ~= 'clearing'
  local ends = to == 'idle' and from ~= 'pending'
  call('HSET', key, 'since', now)
  if fires then
    call('HSET', key, 'last_fired', now)
    call('HINCRBY', key, 'fired', 1)
  end
  if delay_of(rule, to) then
    look_again(ctx, rule, tonumber(now) + delay_of(rule, to))
  elseif not rule.ticks then
    call('ZREM', namespace .. 'rulesrv:due', rule.id)
  end
  tell_rule(ctx, rule, from, to, now)
  if fires then
    act(ctx, rule, 'active', now)
  elseif ends then
    alarm_clear_definition(namespace, rule.id, rule.first.source, now, actor(ctx, rule), ctx.why)
    act(ctx, rule, 'idle', now)
  end
end

-- tell_input raises or clears the alarm of a rule whose input cannot be used. It waits
-- for a grace time from when that was first seen: after a restart everything is stale
-- until the first poll.
local function tell_input(ctx, rule, now)
  local source, memory = 'rulesrv:' .. rule.id .. ':input', ctx.memory
  if not ctx.unusable then
    if memory.unusable then
      alarm_clear_definition(ctx.namespace, rule.id, source, now, 'rule:' .. rule.id)
    end
    memory.unusable, memory.unusable_since = nil, nil
    return
  end
  memory.unusable_since = memory.unusable_since or ctx.at
  if memory.unusable ~= ctx.unusable and ctx.at - memory.unusable_since >= input_grace then
    memory.unusable = ctx.unusable
    alarm_raise(ctx.namespace, now, {source = source, rule = rule.id, level = 'Warning', worse = '', value = '',
      title = 'Input of a rule cannot be used', description = 'Rule ' .. rule.id .. ' cannot be judged: ' .. ctx.unusable .. ' is bad, stale or unknown'})
  end
end

-- step_rule evaluates one rule and acts on a change. standing is "state since",
-- false when it is idle. It returns the state and whether it changed.
local function step_rule(ctx, rule, standing, now)
  local state, since = 'idle', 0
  if standing then
    state, since = string.match(standing, '^(%a+) (%d+)$')
  end
  local keeps = rule.remembers or rule.bad_input == 'alarm'
  if keeps then
    local packed = redis.call('HGET', ctx.namespace .. 'rulesrv:memory', rule.id)
    ctx.memory = packed and cmsgpack.unpack(packed) or {}
  end
  local outcome = judge(ctx, rule, state)
  local known = ctx.event
  if keeps then
    if rule.bad_input == 'alarm' then
      tell_input(ctx, rule, now)
    end
    redis.call('HSET', ctx.namespace .. 'rulesrv:memory', rule.id, cmsgpack.pack(ctx.memory))
  end
  if state == 'idle' and outcome ~= true then
    return 'idle', false
  end
  local last_fired
  if rule.cooldown > 0 and state == 'idle' then
    last_fired = tonumber(redis.call('HGET', ctx.namespace .. 'rulesrv:state:' .. rule.id, 'last_fired') or nil)
    if last_fired and ctx.at - last_fired < rule.cooldown then
      if not rule.pulse then
        look_again(ctx, rule, last_fired + rule.cooldown)
      end
      return 'idle', false
    end
  end
  local to = next_state(rule, state, tonumber(since), last_fired, outcome, ctx.at, known)
  if to == state then
    if state == 'active' and rule.raises and rule.worse ~= '' then
      alarm_went(ctx.namespace, rule.id, rule.first.source, ctx.numbers[rule.first.slot], rule.worse)
    end
    return state, false
  end
  rule_moved(ctx, rule, state, to, now)
  if rule.pulse and to == 'active' then
    rule_moved(ctx, rule, to, 'idle', now)
    to = 'idle'
  end
  return to, true
end

-- acts_before reports whether one rule acts before another that the same change sets
-- off: the one with the higher priority, and of equal ones that with the lower id.
local function acts_before(a, b)
  if a.priority ~= b.priority then
    return a.priority > b.priority
  end
  return a.id < b.id
end

-- advance evaluates rules whose numbers were fetched, the most urgent first. It
-- returns how many changed.
local function advance(ctx, rules)
  local changed = 0
  table.sort(rules, acts_before)
  for _, rule in ipairs(rules) do
    local _, moved = step_rule(ctx, rule, redis.call('HGET', ctx.namespace .. 'rulesrv:standing', rule.id), ctx.now)
    changed = changed + (moved and 1 or 0)
  end
  return changed
end

-- enabled_rules returns the rules of ids, without those that are switched off.
local function enabled_rules(namespace, cache, ids)
  local rules = {}
  for _, id in ipairs(ids) do
    local rule = compiled_rule(namespace, cache, id)
    if rule and rule.enabled then
      rules[#rules + 1] = rule
    end
  end
  return rules
end

-- set_value sets a custom value and evaluates the rules that watch it. Rules that
-- set off one another are stopped at a depth, and an alarm says so.
local function set_value(ctx, name, number, now)
  local namespace = ctx.namespace
  redis.call('HSET', namespace .. 'rulesrv:custom', name, number)
  ctx.numbers['custom:' .. name] = tonumber(number) -- of all rules that this call still evaluates
  local due = redis.call('HGET', namespace .. 'rulesrv:index:custom', name)
  if not due then
    return 0
  end
  if ctx.depth >= cascade_limit then
    tell_cascade(namespace, 'custom:' .. name, 'Rules set off one another',
      'Setting ' .. name .. ' was the ' .. cascade_limit .. 'th step of one chain: the rules that watch it were not evaluated', now)
    return 0
  end
  local nested, ids = rule_context(namespace, now, ctx.numbers), {}
  nested.known, nested.hashes, nested.depth = ctx.known, ctx.hashes, ctx.depth + 1
  for id in string.gmatch(due, '%S+') do
    ids[#ids + 1] = id
  end
  local rules = enabled_rules(namespace, cached_rules(namespace), ids)
  prefetch(nested, gather_nodes(rules))
  return advance(nested, rules)
end

cascade.set_value = set_value

-- first_source returns the source about which a rule raises its alarm, nil where there
-- is no such rule.
function cascade.first_source(namespace, id)
  local rule = compiled_rule(namespace, cached_rules(namespace), id)
  return rule and rule.first.source
end
