-- Conditions: checked when a rule is stored, compiled once into functions that
-- say true, false, or nil where an input that decides is unknown.

local operators = {['>'] = 'high', ['>='] = 'high', ['<'] = 'low', ['<='] = 'low', ['=='] = '', ['!='] = '', between = '', ['in'] = '',
  changed = '', rising = '', falling = ''}
local condition_types = {'source', 'string', 'minus', 'string', 'compare_to', 'string', 'function', 'string', 'window', 'string',
  'operator', 'string', 'logic', 'string', 'conditions', 'table'}
local bound_operators = {['>'] = true, ['>='] = true, ['<'] = true, ['<='] = true, between = true}
local edge_operators = {changed = true, rising = true, falling = true}
local window_functions = {rate = true, mean = true}
local condition_limit, condition_depth = 100, 8
local window_buckets = 30           -- parts of a window that are remembered
local window_most = 86400000        -- the longest window, ms

-- parse_duration reads "1h30m", "10s" or "250ms" into milliseconds; nil is 0.
local function parse_duration(what, text, most)
  if text == nil or text == '' then
    return 0
  end
  local units = {h = 3600000, m = 60000, s = 1000, ms = 1}
  local total, rest = 0, type(text) == 'string' and text or 'x'
  while rest ~= '' and total do
    local number, unit, after = string.match(rest, '^(%d+%.?%d*)(%a+)(.*)$')
    total = number and units[unit] and total + tonumber(number) * units[unit]
    rest = after or ''
  end
  if not total or total > most then
    refuse('INVALID', what .. ' ' .. shown(tostring(text)) .. ' is not a duration from 0s to ' .. most / 1000 .. "s, written like '10s' or '1m30s'")
  end
  return math.floor(total)
end

local function is_finite(value)
  return type(value) == 'number' and value == value and value ~= math.huge and value ~= -math.huge
end

-- check_value checks the right side: a number, or a list for between and in.
local function check_value(here, condition)
  local operator, value = condition.operator, condition.value
  if edge_operators[operator] then
    if value ~= nil or condition.compare_to ~= nil then
      refuse('INVALID', here .. 'value has no use for ' .. operator)
    end
  elseif operator == 'between' or operator == 'in' then
    if type(value) ~= 'table' or #value == 0 or #value > 100 or operator == 'between' and #value ~= 2 then
      refuse('INVALID', here .. 'value must be a list: [least, most] for between, 1 to 100 numbers for in')
    end
    for i, number in ipairs(value) do
      if not is_finite(number) then
        refuse('INVALID', here .. 'value[' .. (i - 1) .. '] must be a finite number')
      end
    end
    if operator == 'between' and value[1] > value[2] then
      refuse('INVALID', here .. 'value: the least is above the most')
    end
  elseif condition.compare_to ~= nil then
    if value ~= nil then
      refuse('INVALID', here .. 'value and compare_to exclude each other')
    end
  elseif not is_finite(value) then
    refuse('INVALID', here .. 'value must be a finite number')
  end
end

-- check_comparison checks one condition that is no group; bind is told its
-- sources, and budget that it has a bound, from which a value can come back. Within
-- NOT a value that was outside of two bounds must find a place between them.
local function check_comparison(here, condition, budget, bind)
  for _, side in ipairs({'source', 'minus', 'compare_to'}) do
    if side == 'source' or condition[side] ~= nil then
      split_source(here .. side, condition[side])
      bind(condition[side])
    end
  end
  if operators[condition.operator] == nil then
    refuse('INVALID', here .. 'operator ' .. shown(tostring(condition.operator))
      .. ' is unknown: use > >= < <= == != between in changed rising or falling')
  end
  check_value(here, condition)
  budget.bounded = budget.bounded or bound_operators[condition.operator]
  if condition.operator == 'between' and budget.inverted and budget.hysteresis > 0
    and 2 * budget.hysteresis >= condition.value[2] - condition.value[1] then
    refuse('INVALID', 'hysteresis must be below half of what ' .. here .. 'value spans, which is within NOT: the rule would never let go')
  end
  local name = condition['function']
  local window = parse_duration(here .. 'window', condition.window, window_most)
  if name ~= nil and not window_functions[name] then
    refuse('INVALID', here .. 'function ' .. shown(tostring(name)) .. ' is unknown: use rate or mean')
  elseif name ~= nil and window < 1000 then
    refuse('INVALID', here .. 'window of ' .. name .. ' must be 1s or more')
  elseif name == nil and window > 0 then
    refuse('INVALID', here .. 'window has no use without a function, rate or mean')
  end
end

-- check_conditions walks a tree of conditions.
local function check_conditions(path, logic, conditions, depth, budget, bind)
  if logic ~= nil and logic ~= '' and logic ~= 'AND' and logic ~= 'OR' and logic ~= 'NOT' then
    refuse('INVALID', path .. 'logic must be AND, OR or NOT')
  end
  if type(conditions) ~= 'table' or #conditions == 0 then
    refuse('INVALID', path .. 'conditions must hold at least one condition')
  end
  if depth > condition_depth then
    refuse('INVALID', path .. 'conditions are nested deeper than ' .. condition_depth)
  end
  local outer = budget.inverted
  budget.inverted = outer ~= (logic == 'NOT')
  for i, condition in ipairs(conditions) do
    local here = path .. 'conditions[' .. (i - 1) .. '].'
    budget.left = budget.left - 1
    if budget.left < 0 then
      refuse('INVALID', string.sub(here, 1, -2) .. ': more than ' .. condition_limit .. ' conditions')
    end
    if type(condition) ~= 'table' then
      refuse('INVALID', string.sub(here, 1, -2) .. ' is not a condition')
    end
    check_types(here, condition, condition_types)
    if condition.hysteresis ~= nil then
      refuse('INVALID', here .. 'hysteresis is one of the rule, beside its conditions')
    end
    if condition.conditions then
      if condition.source ~= nil or condition.operator ~= nil or condition.value ~= nil then
        refuse('INVALID', here .. 'conditions stand beside a source, operator or value: a group has conditions alone')
      end
      check_conditions(here, condition.logic, condition.conditions, depth + 1, budget, bind)
    else
      check_comparison(here, condition, budget, bind)
    end
  end
  budget.inverted = outer
end

-- check_moment reports whether conditions hold for a moment alone: an edge does, and
-- so do an AND with an edge in it and an OR of nothing else. What would fire at every
-- evaluation, an edge beside levels in an OR or within NOT, is refused.
local function check_moment(path, logic, conditions)
  local edge, level
  for i, condition in ipairs(conditions) do
    local here = path .. 'conditions[' .. (i - 1) .. ']'
    local moment
    if condition.conditions then
      moment = check_moment(here .. '.', condition.logic, condition.conditions)
    else
      moment = edge_operators[condition.operator]
    end
    if moment and logic == 'NOT' then
      refuse('INVALID', here .. ' is an edge, a moment: NOT has no use for it')
    end
    if moment then
      edge = edge or here
    else
      level = true
    end
  end
  if edge and level and logic == 'OR' then
    refuse('INVALID', edge .. ' is an edge, a moment: OR joins it with edges alone')
  end
  return edge ~= nil
end

-- remember_window keeps what a window function needs: the value before, and for
-- each part of the window its integral, the time it covers, and its first value.
local function remember_window(memory, window, number, at)
  local width = math.ceil(window / window_buckets) -- whole, so that parts meet exactly
  local parts = memory.parts
  if not parts then
    parts = {}
    memory.parts, memory.began = parts, at
  end
  local last_at = memory.at
  if last_at and at < last_at then
    return
  end
  -- What held until now goes into the parts that it covers, but no further back
  -- than the window.
  local from = last_at and math.max(last_at, at - window)
  while from and from < at do
    local start = from - from % width
    local till = math.min(at, start + width)
    local part = parts[#parts]
    if not part or part[1] ~= start then
      part = {start, 0, 0, memory.number}
      parts[#parts + 1] = part
    end
    part[2], part[3] = part[2] + memory.number * (till - from), part[3] + (till - from)
    from = till
  end
  while parts[1] and parts[1][1] + width <= at - window do
    table.remove(parts, 1)
  end
  memory.number, memory.at = number, at
end

-- window_mean is the mean over time, known once a whole window was seen.
local function window_mean(memory, window, at)
  if at - memory.began < window then
    return nil
  end
  local integral, covered = 0, 0
  for _, part in ipairs(memory.parts) do
    integral, covered = integral + part[2], covered + part[3]
  end
  return covered > 0 and integral / covered or nil
end

-- window_rate is the change per second since the oldest part of the window.
local function window_rate(memory, window, at)
  local oldest = memory.parts[1]
  if at - memory.began < window or not oldest then
    return nil
  end
  local elapsed = at - math.max(oldest[1], memory.began)
  return elapsed > 0 and (memory.number - oldest[4]) / elapsed * 1000 or nil
end

-- compile_left returns a function that yields the left side of a comparison.
local function compile_left(namespace, condition, place, nodes)
  local node = source_node(namespace, condition.source)
  nodes[#nodes + 1] = node
  local left = function(ctx) return number_of(ctx, node) end
  if condition.minus then
    local other = source_node(namespace, condition.minus)
    nodes[#nodes + 1] = other
    left = function(ctx)
      local a, b = number_of(ctx, node), number_of(ctx, other)
      return a and b and a - b
    end
  end
  local name = condition['function']
  if not name then
    return left, node
  end
  local window, result = parse_duration('window', condition.window, window_most), name == 'mean' and window_mean or window_rate
  return function(ctx)
    local number = left(ctx)
    local memory = ctx.memory[place] or {}
    ctx.memory[place] = memory
    if not number then
      memory.parts, memory.at = nil, nil
      return nil
    end
    remember_window(memory, window, number, ctx.at)
    return result(memory, window, ctx.at)
  end, node
end

local function contains_number(list, number)
  for _, candidate in ipairs(list) do
    if candidate == number then
      return true
    end
  end
  return false
end

-- holds_edge compares with the number of the evaluation before.
local function holds_edge(operator, before, number)
  if before == nil then
    return false
  elseif operator == 'changed' then
    return number ~= before
  elseif operator == 'rising' then
    return number > before
  end
  return number < before
end

-- compile_test returns a function of left, right and the hysteresis in force: a
-- rule that is active lets go of a bound only where the value is that much back. What
-- compares with numbers alone, such as those of states, does so exactly.
local function compile_test(operator, value)
  if operator == '>' then return function(x, y, h) return x > y - h end end
  if operator == '>=' then return function(x, y, h) return x >= y - h end end
  if operator == '<' then return function(x, y, h) return x < y + h end end
  if operator == '<=' then return function(x, y, h) return x <= y + h end end
  if operator == '==' then return function(x, y) return x == y end end
  if operator == '!=' then return function(x, y) return x ~= y end end
  if operator == 'between' then return function(x, _, h) return x >= value[1] - h and x <= value[2] + h end end
  return function(x) return contains_number(value, x) end
end

-- compile_comparison compiles one condition; place numbers it within its rule.
local function compile_comparison(namespace, condition, hysteresis, place, nodes)
  local left, node = compile_left(namespace, condition, place, nodes)
  local operator = condition.operator
  if edge_operators[operator] then
    return function(ctx)
      local number = left(ctx)
      if number == nil then
        return nil
      end
      local memory = ctx.memory[place .. 'e'] or {}
      ctx.memory[place .. 'e'] = memory
      local outcome = holds_edge(operator, memory[1], number)
      memory[1] = number
      return outcome
    end, node
  end
  local test = compile_test(operator, condition.value)
  local right = condition.compare_to and source_node(namespace, condition.compare_to)
  nodes[#nodes + 1] = right or nil
  local value = condition.value
  return function(ctx)
    local x, y = left(ctx), value
    if right then
      y = number_of(ctx, right)
    end
    if x == nil or y == nil then
      return nil
    end
    return test(x, y, ctx.standing and hysteresis or 0)
  end, node
end

-- combine joins the functions of a group.
local function combine(logic, parts)
  local decisive, otherwise = false, true
  if logic == 'OR' then
    decisive, otherwise = true, false
  elseif logic == 'NOT' then
    local any = combine('OR', parts)
    return function(ctx)
      local outcome = any(ctx)
      if outcome == nil then
        return nil
      end
      return not outcome
    end
  end
  return function(ctx)
    local unknown = false
    -- Every part is asked: some remember what they saw.
    local decided = false
    for i = 1, #parts do
      local outcome = parts[i](ctx)
      if outcome == nil then
        unknown = true
      elseif outcome == decisive then
        decided = true
      end
    end
    if decided then
      return decisive
    elseif unknown then
      return nil
    end
    return otherwise
  end
end

-- compile_group compiles conditions; compiled gathers what is known of the rule:
-- its first node, how many comparisons, whether it remembers anything, whether it
-- holds for a moment alone, its longest window.
local function compile_group(namespace, logic, conditions, settings, compiled)
  local parts = {}
  if logic == 'NOT' then -- a value comes back on the other side of the bound
    settings = {hysteresis = -settings.hysteresis, bad_input = settings.bad_input}
  end
  for i, condition in ipairs(conditions) do
    if condition.conditions then
      parts[i] = compile_group(namespace, condition.logic, condition.conditions, settings, compiled)
    else
      compiled.count = compiled.count + 1
      local part, node = compile_comparison(namespace, condition, settings.hysteresis, tostring(compiled.count), compiled.nodes)
      compiled.first = compiled.first or node
      compiled.worse = compiled.worse or operators[condition.operator]
      compiled.pulse = compiled.pulse or edge_operators[condition.operator] or false
      compiled.remembers = compiled.remembers or edge_operators[condition.operator] or condition['function'] ~= nil
      if condition['function'] then
        compiled.window = math.max(compiled.window or 0, parse_duration('window', condition.window, window_most))
      end
      parts[i] = settings.bad_input == 'false' and function(ctx) return part(ctx) or false end or part
    end
  end
  return combine(logic, parts)
end
