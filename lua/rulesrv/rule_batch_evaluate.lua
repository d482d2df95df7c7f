-- rule_batch_evaluate: evaluate many rules in one call, the highest priority first, then the lowest id; an unknown one does not stop the others
-- KEYS   [{site}:]all
-- ARGV   now ms, then 1 to 1000 rule ids
-- reply  idle, pending, active, clearing, disabled or missing for each, in the order asked
-- errors INVALID
-- keys   as rule_evaluate
-- flags  none
local plan_memory = 20              -- batches that are remembered

-- plan_codes makes the program of a batch: its numbers lie in a list, each at a place
-- of its own, and are read hash by hash in that order.
local function plan_codes(plan, codes, coded)
  local place_of, count = {}, 0
  plan.lists, plan.numbers, plan.texts = gather_nodes(coded), {}, {}
  for _, list in ipairs(plan.lists) do
    list.before = count
    for i, slot in ipairs(list.slots) do
      place_of[slot] = count + i
    end
    count = count + #list.slots
  end
  for i, code in pairs(codes) do
    codes[i] = string.gsub(code, 'n%["([^"]+)"%]', function(slot) return 'n[' .. place_of[slot] .. ']' end)
  end
  plan.program = make_program(codes, #plan.rules)
end

-- plan_batch finds the rules of a batch, puts those that are enabled in the order in
-- which they act, and makes their program. The same batch comes again and again: its
-- plan is kept with the compiled rules.
local function plan_batch(namespace, cache, args)
  local text = #args .. ' ' .. table.concat(args, ' ', 2) -- the count tells 'a b' from 'a' and 'b'
  cache.plans, cache.planned = cache.plans or {}, cache.planned or 0
  local plan = cache.plans[text]
  if plan then
    return plan
  end
  plan = {rules = {}, asked = {}, reply = {}, always = {}}
  local entries, codes, coded = {}, {}, {}
  for i = 1, #args - 1 do
    local rule = compiled_rule(namespace, cache, check_id('rule id', args[i + 1]))
    plan.reply[i] = not rule and 'missing' or rule.enabled and 'idle' or 'disabled'
    if rule and rule.enabled then
      entries[#entries + 1] = {rule = rule, asked = i}
    end
  end
  table.sort(entries, function(a, b)
    if a.rule == b.rule then
      return a.asked < b.asked
    end
    return acts_before(a.rule, b.rule)
  end)
  for place, entry in ipairs(entries) do
    local rule = entry.rule
    plan.rules[place], plan.asked[place] = rule, entry.asked
    if rule.code then
      codes[place], coded[#coded + 1] = rule.code, rule
    else
      plan.always[#plan.always + 1] = place
    end
  end
  plan_codes(plan, codes, coded)
  if cache.planned >= plan_memory then
    cache.plans, cache.planned = {}, 0
  end
  cache.plans[text], cache.planned = plan, cache.planned + 1
  return plan
end

-- read_batch brings the numbers of a plan up to date. A text that stays the same is
-- not read as a number again.
local function read_batch(ctx, plan)
  local numbers, texts = plan.numbers, plan.texts
  for _, list in ipairs(plan.lists) do
    local before, read = list.before, read_hash(ctx, list.node, list.points)
    for i = 1, #read do
      local text = read[i]
      if text ~= texts[before + i] then
        texts[before + i], numbers[before + i] = text, text and tonumber(text) or unknown
      end
    end
  end
end

-- places_to_step returns the places of the rules that have to take a step, in order:
-- those that hold, that have no code, and that are not idle.
local function places_to_step(namespace, plan)
  local places = run_program(plan.program, plan.numbers, {})
  for _, i in ipairs(plan.always) do
    places[#places + 1] = i
  end
  local fields, standing = redis.call('HGETALL', namespace .. 'rulesrv:standing'), {}
  for i = 1, #fields, 2 do
    standing[fields[i]] = true
  end
  for i = 1, #fields > 0 and #plan.rules or 0 do
    if standing[plan.rules[i].id] then
      places[#places + 1] = i
    end
  end
  table.sort(places)
  return places
end

local function rule_batch_evaluate(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 1001)
  local now = check_time('now', args[1])
  local plan = plan_batch(namespace, cached_rules(namespace), args)
  local ctx = rule_context(namespace, now)
  read_batch(ctx, plan)
  local places = places_to_step(namespace, plan)
  if #places == 0 then
    return plan.reply
  end
  local reply = {}
  for i = 1, #plan.reply do
    reply[i] = plan.reply[i]
  end
  local stepping = {}
  for i, place in ipairs(places) do
    stepping[i] = plan.rules[place]
  end
  prefetch(ctx, gather_nodes(stepping))
  local last
  for _, place in ipairs(places) do
    if place ~= last then
      local rule = plan.rules[place]
      reply[plan.asked[place]], last = step_rule(ctx, rule, redis.call('HGET', namespace .. 'rulesrv:standing', rule.id), now), place
    end
  end
  return reply
end
