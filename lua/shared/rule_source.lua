-- The sources of rules: points, values of models, and custom values that rules
-- and people set. Each has a slot, under which its number is kept during a call.

local model_slot_limit = 20000      -- model values that rules may watch

-- split_source takes a source apart: kind (point, model or custom) and its parts.
local function split_source(what, text)
  if type(text) ~= 'string' then
    refuse('INVALID', what .. ' must be a text')
  end
  local model, name = string.match(text, '^modsrv:([^:]+):([^:]+)$')
  if model then
    return 'model', check_id(what .. ' model', model), check_id(what .. ' name', name)
  end
  local custom = string.match(text, '^custom:([^:]+)$')
  if custom then
    return 'custom', check_id(what .. ' name', custom)
  end
  if string.sub(text, 1, 7) ~= 'comsrv:' then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a source: use comsrv:{channel}:{T|S|C|A}:{point}, modsrv:{model}:{name} or custom:{name}')
  end
  return 'point', check_source(what, text)
end

local function point_node(namespace, channel, kind, point, source)
  local slot = channel .. ':' .. kind .. ':' .. point
  return {slot = slot, source = source, hash = channel .. ':' .. kind, key = namespace .. 'comsrv:' .. channel .. ':' .. kind,
    point = point, status = namespace .. 'comsrv:' .. channel .. ':status'}
end

-- model_points returns the points behind a name of a model: one for data, those
-- of all inputs for a computed value; nil where there is no such name.
local function model_points(namespace, model, name)
  local layout, computed = unpack(redis.call('HMGET', namespace .. 'modsrv:model:' .. model, 'layout', 'computed'))
  if not layout then
    return nil
  end
  local points, formulas = {}, {}
  for of, channel, kind, point in string.gmatch(layout, '(%S+) (%d+) (%u) (%d+)') do
    points[of] = {channel = channel, kind = kind, point = point}
  end
  if points[name] then
    return {points[name]}, false
  elseif computed == '' then
    return nil
  end
  for _, formula in ipairs(formulas_of(computed)) do
    formulas[formula.name] = formula
  end
  if not formulas[name] then
    return nil
  end
  local found, seen = {}, {}
  local function gather(of)
    for _, input in ipairs(formulas[of].names) do
      if not seen[input] then
        seen[input] = true
        if points[input] then
          found[#found + 1] = points[input]
        elseif formulas[input] then
          gather(input)
        end
      end
    end
  end
  gather(name)
  return found, true
end

-- source_node resolves a source into what evaluation reads; a name that a model
-- does not have yields a node without key, whose number is unknown.
local function source_node(namespace, text)
  local kind, first, second, third = split_source('source', text)
  if kind == 'point' then
    return point_node(namespace, first, second, third, text)
  elseif kind == 'custom' then
    return {slot = text, source = text, custom = first}
  end
  local points, is_computed = model_points(namespace, first, second)
  if points and not is_computed then
    return point_node(namespace, points[1].channel, points[1].kind, points[1].point, text)
  end
  return {slot = text, source = text, model = points and first, name = second}
end

-- hash_state returns what holds for all points of a hash: whether any is marked,
-- whether any is of a poll group of its own, and when the default group and the
-- others last succeeded. It is kept for the rest of the call.
local function hash_state(ctx, node)
  local state = ctx.hashes[node.hash]
  if not state then
    local call = redis.call
    local stale_after, success = unpack(call('HMGET', node.status, 'stale_after_ms', 'group:default'))
    local plain = call('EXISTS', node.key .. ':q', node.key .. ':g') == 0
    state = {marked = not plain and call('EXISTS', node.key .. ':q') == 1, grouped = not plain and call('EXISTS', node.key .. ':g') == 1,
      oldest = tonumber(ctx.now) - tonumber(stale_after or default_stale_after), groups = {default = tonumber(success or 0)}}
    ctx.hashes[node.hash] = state
  end
  return state
end

-- load_point returns the number of a point that may be acted on, or false: it is
-- good, and its poll group has succeeded within the channel's stale_after_ms. The
-- second value is the time up to which it is known.
local function load_point(ctx, node)
  local call = redis.call
  local text = call('HGET', node.key, node.point)
  if not text then
    return false
  end
  local state = hash_state(ctx, node)
  if state.marked and call('HEXISTS', node.key .. ':q', node.point) == 1 then
    return false
  end
  local group = state.grouped and call('HGET', node.key .. ':g', node.point) or 'default'
  if not state.groups[group] then
    state.groups[group] = tonumber(call('HGET', node.status, 'group:' .. group) or 0)
  end
  local known = state.groups[group]
  if known < state.oldest then
    known = math.max(known, tonumber(call('HGET', node.key .. ':ts', node.point) or 0))
  end
  return known >= state.oldest and tonumber(text), known
end

-- load_computed returns a computed value of a model in the same way.
local function load_computed(ctx, node)
  local layout, computed = unpack(redis.call('HMGET', ctx.namespace .. 'modsrv:model:' .. node.model, 'layout', 'computed'))
  if not layout then
    return false
  end
  local read = read_values(ctx.namespace, layout, computed, ctx.now)
  local group = read[#read]
  for i, name in ipairs(group[1]) do
    if name == node.name then
      return group[4][i] == 'good' and tonumber(group[2][i]) or false, tonumber(ctx.now)
    end
  end
  return false
end

-- load_number reads the number of a node, false when it may not be acted on.
local function load_number(ctx, node)
  if ctx.given then
    return false
  elseif node.key then
    return load_point(ctx, node)
  elseif node.custom then
    local text = redis.call('HGET', ctx.namespace .. 'rulesrv:custom', node.custom)
    return text and tonumber(text) or false, tonumber(ctx.now)
  elseif node.model then
    return load_computed(ctx, node)
  end
  return false
end

-- number_of returns the number of a node, nil when it may not be acted on: bad,
-- stale and uncertain inputs trigger nothing. ctx.event falls to the time up to
-- which every input that was asked for is known.
local function number_of(ctx, node)
  local slot = node.slot
  local number = ctx.numbers[slot]
  if number == nil then
    number, ctx.known[slot] = load_number(ctx, node)
    ctx.numbers[slot] = number
  end
  if not number then
    ctx.unusable = ctx.unusable or node.source
    return nil
  end
  local known = ctx.known[slot]
  if known and known < ctx.event then
    ctx.event = known
  end
  return number
end

-- gather_nodes sorts the nodes of rules whose numbers lie in hashes by hash.
local function gather_nodes(rules)
  local lists, by_hash, seen = {}, {}, {}
  for _, rule in ipairs(rules) do
    for _, node in ipairs(rule.nodes) do
      if node.key and not seen[node.slot] then
        seen[node.slot] = true
        local list = by_hash[node.hash]
        if not list then
          list = {node = node, points = {}, slots = {}, nodes = {}}
          by_hash[node.hash], lists[#lists + 1] = list, list
        end
        local at = #list.points + 1
        list.points[at], list.slots[at], list.nodes[at] = node.point, node.slot, node
      end
    end
  end
  return lists
end

-- is_plain reports whether every point of a hash may be acted on as it is read.
local function is_plain(state)
  return not state.marked and not state.grouped and state.groups.default >= state.oldest
end

-- prefetch reads the numbers of gathered nodes in one go for each hash where no
-- point needs a second look; the others are read when they are asked for.
local function prefetch(ctx, lists)
  local numbers, known = ctx.numbers, ctx.known
  for _, list in ipairs(lists) do
    local state, points, slots = hash_state(ctx, list.node), list.points, list.slots
    if is_plain(state) then
      for first = 1, #points, 1000 do
        local texts = redis.call('HMGET', list.node.key, unpack(points, first, math.min(first + 999, #points)))
        for i = 1, #texts do
          local slot = slots[first + i - 1]
          if numbers[slot] == nil then
            numbers[slot], known[slot] = texts[i] and tonumber(texts[i]), state.groups.default
          end
        end
      end
    end
  end
end

-- rule_context begins an evaluation at a time. numbers holds, by slot, what is
-- known already.
local function rule_context(namespace, now, numbers)
  return {namespace = namespace, now = now, at = tonumber(now), event = math.huge, numbers = numbers or {}, known = {}, hashes = {}, depth = 0}
end
