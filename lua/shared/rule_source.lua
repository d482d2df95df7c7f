-- The sources of rules: points, values of models, and custom values that rules
-- and people set. Each has a slot, under which its number is kept during a call.

local kept_layouts = 2000           -- models of which the names are kept

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

-- The points behind the names of models are kept under the text of layout and
-- formulas, so that they can never be out of date.
local behind_names, behind_count = {}, 0

-- points_behind returns, by name, the points behind it and whether it is computed:
-- one point for data, those of all inputs for a computed value.
local function points_behind(layout, computed)
  local behind, formulas = {}, {}
  for of, channel, kind, point in string.gmatch(layout, '(%S+) (%d+) (%u) (%d+)') do
    behind[of] = {points = {{channel = channel, kind = kind, point = point}}, is_computed = false}
  end
  for _, formula in ipairs(computed ~= '' and formulas_of(computed) or {}) do
    formulas[formula.name] = formula
  end
  for name in pairs(formulas) do
    local found, seen = {}, {}
    local function gather(of)
      for _, input in ipairs(formulas[of].names) do
        if not seen[input] then
          seen[input] = true
          if formulas[input] then
            gather(input)
          elseif behind[input] then
            found[#found + 1] = behind[input].points[1]
          end
        end
      end
    end
    gather(name)
    formulas[name].found = found
  end
  for name, formula in pairs(formulas) do
    behind[name] = {points = formula.found, is_computed = true}
  end
  return behind
end

-- model_points returns the points behind a name of a model and whether it is
-- computed; nil where there is no such name.
local function model_points(namespace, model, name)
  local layout, computed = unpack(redis.call('HMGET', namespace .. 'modsrv:model:' .. model, 'layout', 'computed'))
  if not layout then
    return nil
  end
  local text = layout .. '\n' .. (computed or '')
  local behind = behind_names[text]
  if not behind then
    if behind_count >= kept_layouts then
      behind_names, behind_count = {}, 0
    end
    behind = points_behind(layout, computed or '')
    behind_names[text], behind_count = behind, behind_count + 1
  end
  if behind[name] then
    return behind[name].points, behind[name].is_computed
  end
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
-- others last succeeded and up to when that is long ago. It is kept for the rest of
-- the call.
local function hash_state(ctx, node)
  local state = ctx.hashes[node.hash]
  if not state then
    local call = redis.call
    local stale_after, success = unpack(call('HMGET', node.status, 'stale_after_ms', 'group:default'))
    local plain = call('EXISTS', node.key .. ':q', node.key .. ':g') == 0
    state = {marked = not plain and call('EXISTS', node.key .. ':q') == 1, grouped = not plain and call('EXISTS', node.key .. ':g') == 1,
      oldest = {default = tonumber(ctx.now) - tonumber(stale_after or default_stale_after)}, groups = {default = tonumber(success or 0)}}
    ctx.hashes[node.hash] = state
  end
  return state
end

-- group_success returns when a poll group last succeeded, and before when that
-- would be long ago.
local function group_success(ctx, state, node, group)
  if not state.groups[group] then
    local success, stale_after = group_state(node.status, group)
    state.groups[group], state.oldest[group] = success, tonumber(ctx.now) - stale_after
  end
  return state.groups[group], state.oldest[group]
end

-- read_hash reads points of one hash in one go. It returns the text of each that may
-- be acted on, false for the others, and up to when each is known: a point may be
-- acted on when it is good, and its poll group or itself was read within the
-- stale_after_ms of the group.
local function read_hash(ctx, node, points)
  local state, texts, known = hash_state(ctx, node), hmget(node.key, points), {}
  local marks, groups, times = state.marked and hmget(node.key .. ':q', points), state.grouped and hmget(node.key .. ':g', points), nil
  if not marks and not groups and state.groups.default >= state.oldest.default then
    return texts, known, state.groups.default
  end
  for i = 1, #points do
    local success, oldest = group_success(ctx, state, node, groups and groups[i] or 'default')
    if success < oldest then
      times = times or hmget(node.key .. ':ts', points)
      success = math.max(success, tonumber(times[i] or 0))
    end
    if marks and marks[i] or success < oldest then
      texts[i] = false
    end
    known[i] = success
  end
  return texts, known
end

-- load_point returns the number of a point that may be acted on, or false, and the
-- time up to which it is known.
local function load_point(ctx, node)
  local texts, known, all = read_hash(ctx, node, {node.point})
  return texts[1] and tonumber(texts[1]) or false, known[1] or all
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
          list = {node = node, points = {}, slots = {}}
          by_hash[node.hash], lists[#lists + 1] = list, list
        end
        list.points[#list.points + 1], list.slots[#list.slots + 1] = node.point, node.slot
      end
    end
  end
  return lists
end

-- prefetch reads the numbers of gathered nodes, in one go for each hash.
local function prefetch(ctx, lists)
  local numbers = ctx.numbers
  for _, list in ipairs(lists) do
    local texts, known, all = read_hash(ctx, list.node, list.points)
    for i, slot in ipairs(list.slots) do
      if numbers[slot] == nil then
        numbers[slot], ctx.known[slot] = texts[i] and tonumber(texts[i]) or false, known[i] or all
      end
    end
  end
end

-- rule_context begins an evaluation at a time. numbers holds, by slot, what is
-- known already.
local function rule_context(namespace, now, numbers)
  return {namespace = namespace, now = now, at = tonumber(now), event = math.huge, numbers = numbers or {}, known = {}, hashes = {}, depth = 0}
end
