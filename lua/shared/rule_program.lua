-- Programs: most evaluations find a rule idle and leave it so. Whether it holds is
-- decided there by Lua code that is made once for the rules of a point, a few
-- instructions for each comparison instead of a walk through tables.
--
-- The code reads numbers from a table n, in which NaN stands for what may not be
-- acted on: no comparison with it holds. So a condition holds there where it is
-- true, and not where it is false or unknown, which is the same to an idle rule.
-- All that gets into the code was checked when the rule was stored: slots are of
-- letters, digits and "_-.:", numbers are finite, operators are known.

local unknown = 0 / 0
local piece_size = 2000             -- bytes of code compiled together: its constants then fit the short form of an instruction
local code_limit = 8000             -- bytes of code that one rule may have

local plain_operators = {['>'] = true, ['>='] = true, ['<'] = true, ['<='] = true, ['=='] = true}

-- comparison_code returns a condition as code, nil where it takes more than the
-- numbers of points to decide it.
local function comparison_code(namespace, c)
  local plain = c['function'] == nil
  local function number(source)
    local node = source ~= nil and source_node(namespace, source)
    plain = plain and (not node or node.key ~= nil)
    return node and plain and 'n["' .. node.slot .. '"]'
  end
  local left, minus, right = number(c.source), number(c.minus), number(c.compare_to)
  if not plain then
    return nil
  end
  left = minus and left .. '-' .. minus or left
  right = right or type(c.value) == 'number' and string.format('%.17g', c.value)
  if plain_operators[c.operator] then
    return left .. c.operator .. right
  elseif c.operator == '!=' then
    return '(' .. left .. '<' .. right .. ' or ' .. left .. '>' .. right .. ')'
  elseif c.operator == 'between' then
    return string.format('(%s>=%.17g and %s<=%.17g)', left, c.value[1], left, c.value[2])
  elseif c.operator == 'in' then
    local parts = {}
    for i, value in ipairs(c.value) do
      parts[i] = string.format('%s==%.17g', left, value)
    end
    return '(' .. table.concat(parts, ' or ') .. ')'
  end
  return nil
end

-- group_code returns a group of conditions as code, nil where a part of it cannot
-- be one: what remembers, what is computed, and NOT, to which false and unknown
-- are not the same.
local function group_code(namespace, logic, conditions)
  if logic == 'NOT' then
    return nil
  end
  local parts = {}
  for i, condition in ipairs(conditions) do
    local part
    if condition.conditions then
      part = group_code(namespace, condition.logic, condition.conditions)
    else
      part = comparison_code(namespace, condition)
    end
    if not part then
      return nil
    end
    parts[i] = part
  end
  return '(' .. table.concat(parts, logic == 'OR' and ' or ' or ' and ') .. ')'
end

-- make_piece compiles lines of code. Where Lua refuses them, for being too many say,
-- all of their rules are to take a step, which decides them too.
local function make_piece(lines, places)
  return loadstring('local n,found=...\n' .. table.concat(lines, '\n'), '=rules') or function(_, found)
    for _, place in ipairs(places) do
      found[#found + 1] = place
    end
  end
end

-- make_program returns functions of n and a list found, to which they append the
-- places of the codes that hold. A place may have no code.
local function make_program(codes, count)
  local program, lines, places, size = {}, {}, {}, 0
  for place = 1, count do
    local code = codes[place]
    if code then
      lines[#lines + 1], places[#places + 1] = 'if ' .. code .. ' then found[#found+1]=' .. place .. ' end', place
      size = size + #code
    end
    if size >= piece_size or place == count and size > 0 then
      program[#program + 1] = make_piece(lines, places)
      lines, places, size = {}, {}, 0
    end
  end
  return program
end

local function run_program(program, n, found)
  for i = 1, #program do
    program[i](n, found)
  end
  return found
end
