-- The values of a model. What a layout and formulas say is worked out once and
-- kept under their own text, so that it can never be out of date.

local plans, formulas, kept_plans = {}, {}, 0
local plan_limit = 2000             -- texts whose meaning is kept

local function make_room()
  kept_plans = kept_plans + 1
  if kept_plans > plan_limit then
    plans, formulas, kept_plans = {}, {}, 1
  end
end

-- plan_of returns the runs of a layout: {channel, kind, points, names} each.
local function plan_of(layout)
  local runs, run = {}, {}
  for name, channel, kind, point in string.gmatch(layout, '(%S+) (%d+) (%u) (%d+)') do
    if run.channel ~= channel or run.kind ~= kind then
      run = {channel = channel, kind = kind, points = {}, names = {}}
      runs[#runs + 1] = run
    end
    run.points[#run.points + 1] = point
    run.names[#run.names + 1] = name
  end
  make_room()
  plans[layout] = runs
  return runs
end

local function formulas_of(computed)
  local compiled = {}
  for i, field in ipairs(cjson.decode(computed)) do
    drop_nulls(field)
    local evaluate, names = compile_formula('computed ' .. field.name, field)
    compiled[i] = {name = field.name, evaluate = evaluate, names = names}
  end
  make_room()
  formulas[computed] = compiled
  return compiled
end

local worse = {good = 0, uncertain = 1, stale = 2, bad = 3}

-- compute_values returns names, numbers, times and qualities of the computed
-- values. The worst quality of the inputs is that of the result, and the latest
-- of their times its time; without inputs it is good now.
local function compute_values(computed, plan, groups, now)
  local numbers, times, qualities = {}, {}, {}
  for r, run in ipairs(plan) do
    local group = groups[r]
    for i, name in ipairs(run.names) do
      local text = group[1][i]
      numbers[name] = text and tonumber(text)
      times[name] = text and tonumber(group[2][i] or 0)
      qualities[name] = not text and 'bad' or group[3][i] or 'good'
    end
  end
  local names, texts, latest, worst = {}, {}, {}, {}
  for i, formula in ipairs(computed) do
    local time, quality, fed = #formula.names == 0 and tonumber(now) or 0, 'good', true
    for _, name in ipairs(formula.names) do
      fed = fed and numbers[name]
      time = math.max(time, times[name] or 0)
      quality = worse[qualities[name]] > worse[quality] and qualities[name] or quality
    end
    local number = fed and formula.evaluate(numbers)
    if not number or number ~= number or number == math.huge or number == -math.huge then
      number, quality = false, 'bad'
    end
    local name = formula.name
    numbers[name], times[name], qualities[name] = number, time, quality
    names[i], texts[i] = name, number and (string.gsub(string.format('%.6f', number), '^%-(0%.000000)$', '%1'))
    latest[i], worst[i] = string.format('%.0f', time), quality
  end
  return {names, texts, latest, worst}
end

-- read_values returns what model_read replies.
local function read_values(namespace, layout, computed, now)
  local plan = plans[layout] or plan_of(layout)
  local reply, groups = {layout}, {}
  for r, run in ipairs(plan) do
    local group = read_points(namespace, run.channel, run.kind, run.points, now)
    groups[r], reply[r + 1] = group, group
  end
  if computed ~= '' then
    reply[#reply + 1] = compute_values(formulas[computed] or formulas_of(computed), plan, groups, now)
  end
  return reply
end
