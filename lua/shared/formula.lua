-- Formulas: values computed from other values of the same model. A formula is
-- compiled into nested functions of the numbers by name; text never reaches the
-- interpreter.

local formula_depth = 32            -- parentheses within parentheses
local formula_length = 500          -- bytes of an expression

local function sum_of(numbers)
  local total = 0
  for _, number in ipairs(numbers) do
    total = total + number
  end
  return total
end

-- extreme is the number that lies beyond all others. What is not a number makes
-- the result none: math.min and math.max would pass over it.
local function extreme(numbers, beyond)
  local found = numbers[1]
  for _, number in ipairs(numbers) do
    if beyond(number, found) or number ~= number then
      found = number
    end
  end
  return found
end

local folds = {
  sum = sum_of,
  mean = function(numbers) return sum_of(numbers) / #numbers end,
  min = function(numbers) return extreme(numbers, function(a, b) return a < b end) end,
  max = function(numbers) return extreme(numbers, function(a, b) return a > b end) end,
  abs = function(numbers) return math.abs(numbers[1]) end,
}

-- fold applies one of folds to what the nodes yield.
local function fold(name, nodes)
  local apply = folds[name]
  return function(values)
    local numbers = {}
    for i, node in ipairs(nodes) do
      numbers[i] = node(values)
    end
    return apply(numbers)
  end
end

local function named(name)
  return function(values) return values[name] end
end

local function binary(operator, left, right)
  if operator == '+' then
    return function(values) return left(values) + right(values) end
  elseif operator == '-' then
    return function(values) return left(values) - right(values) end
  elseif operator == '*' then
    return function(values) return left(values) * right(values) end
  end
  return function(values) return left(values) / right(values) end
end

-- parse_expression returns the compiled expression and the names in it.
local function parse_expression(what, text)
  local at, depth, names = 1, 0, {}
  local expression
  local function fail(expected)
    refuse('INVALID', what .. ' ' .. shown(text) .. ' at byte ' .. at .. ': ' .. expected .. ' is expected')
  end
  local function take(pattern)
    local _, last, found = string.find(text, '^%s*(' .. pattern .. ')', at)
    if found then
      at = last + 1
    end
    return found
  end
  local function nested()
    depth = depth + 1
    if depth > formula_depth then
      refuse('INVALID', what .. ' is nested deeper than ' .. formula_depth)
    end
    local node = expression()
    depth = depth - 1
    return node
  end
  local function call_of(name)
    if not folds[name] then
      fail('one of the functions min, max, sum, mean and abs')
    end
    local nodes = {nested()}
    while take(',') do
      nodes[#nodes + 1] = nested()
    end
    if not take('%)') then
      fail("')'")
    elseif name == 'abs' and #nodes ~= 1 then
      fail('one argument of abs')
    end
    return fold(name, nodes)
  end
  local function operand()
    local number = take('%d+%.?%d*')
    if number then
      number = tonumber(number)
      if number == math.huge then
        fail('a number that can be computed with')
      end
      return function() return number end
    elseif take('%(') then
      local node = nested()
      if not take('%)') then
        fail("')'")
      end
      return node
    elseif take('%-') then
      depth = depth + 1
      if depth > formula_depth then
        refuse('INVALID', what .. ' is nested deeper than ' .. formula_depth)
      end
      local node = operand()
      depth = depth - 1
      return function(values) return -node(values) end
    end
    local name = take('[%a_][%w_]*')
    if not name then
      fail('a number, a name or a parenthesis')
    elseif take('%(') then
      return call_of(name)
    end
    names[#names + 1] = name
    return named(name)
  end
  local function chain(pattern, part)
    local node = part()
    local operator = take(pattern)
    while operator do
      node = binary(operator, node, part())
      operator = take(pattern)
    end
    return node
  end
  function expression()
    return chain('[+-]', function() return chain('[*/]', operand) end)
  end
  local node = expression()
  if string.find(text, '%S', at) then
    fail('an operator')
  end
  return node, names
end

local function finite_or(what, value, fallback)
  if value == nil then
    return fallback
  elseif type(value) ~= 'number' or value ~= value or value == math.huge or value == -math.huge then
    refuse('INVALID', what .. ' must be a finite number')
  end
  return value
end

-- compile_function compiles the form function and of.
local function compile_function(what, field)
  local of = field.of
  if type(of) ~= 'table' or #of == 0 or #of > 100 then
    refuse('INVALID', what .. '.of must hold 1 to 100 names')
  end
  local nodes = {}
  for i = 1, #of do
    if type(of[i]) ~= 'string' then
      refuse('INVALID', what .. '.of must hold 1 to 100 names')
    end
    nodes[i] = named(check_id(what .. '.of', of[i]))
  end
  local kind = field['function']
  if kind == 'difference' then
    if #of ~= 2 then
      refuse('INVALID', what .. '.of must hold 2 names for a difference')
    end
    return binary('-', nodes[1], nodes[2]), of
  elseif kind == 'scale' then
    if #of ~= 1 then
      refuse('INVALID', what .. '.of must hold 1 name to scale')
    end
    local factor, offset = finite_or(what .. '.factor', field.factor, 1), finite_or(what .. '.offset', field.offset, 0)
    return function(values) return nodes[1](values) * factor + offset end, of
  elseif type(kind) ~= 'string' or not folds[kind] or kind == 'abs' then
    refuse('INVALID', what .. '.function ' .. shown(tostring(kind)) .. ' is unknown: use sum, difference, mean, min, max or scale')
  end
  return fold(kind, nodes), of
end

-- compile_formula returns a function of the numbers by name, and the names that
-- it needs.
local function compile_formula(what, field)
  if field['function'] ~= 'scale' and (field.factor ~= nil or field.offset ~= nil) then
    refuse('INVALID', what .. ': only the function scale takes a factor and an offset')
  elseif field.expression == nil then
    return compile_function(what, field)
  elseif field['function'] ~= nil or field.of ~= nil then
    refuse('INVALID', what .. ' has both an expression and a function: use one')
  elseif type(field.expression) ~= 'string' then
    refuse('INVALID', what .. '.expression must be a text')
  end
  return parse_expression(what .. '.expression', check_text(what .. '.expression', field.expression, 1, formula_length))
end
