-- rule_batch_evaluate: evaluate many rules in one call; an unknown one does not stop the others
-- KEYS   [{site}:]all
-- ARGV   now ms, then 1 to 1000 rule ids
-- reply  idle, pending, active, clearing, disabled or missing for each, in the order asked
-- errors INVALID
-- keys   as rule_evaluate
-- flags  none
local plan_memory = 20              -- batches that are remembered

-- plan_batch finds the rules of a batch, and what they read. The same batch comes
-- again and again: what was found is kept with the compiled rules.
local function plan_batch(namespace, cache, args)
  local text = #args .. ' ' .. table.concat(args, ' ', 2) -- the count tells 'a b' from 'a' and 'b'
  cache.plans, cache.planned = cache.plans or {}, cache.planned or 0
  local plan = cache.plans[text]
  if plan then
    return plan
  end
  plan = {rules = {}}
  local enabled = {}
  for i = 2, #args do
    local rule = compiled_rule(namespace, cache, check_id('rule id', args[i]))
    plan.rules[i - 1] = rule
    if rule and rule.enabled then
      enabled[#enabled + 1] = rule
    end
  end
  plan.lists = gather_nodes(enabled)
  if cache.planned >= plan_memory then
    cache.plans, cache.planned = {}, 0
  end
  cache.plans[text], cache.planned = plan, cache.planned + 1
  return plan
end

-- standing_rules returns what stands of all rules, nil when all are at rest.
local function standing_rules(namespace)
  local fields = redis.call('HGETALL', namespace .. 'rulesrv:standing')
  local standing = #fields > 0 and {} or nil
  for i = 1, #fields, 2 do
    standing[fields[i]] = fields[i + 1]
  end
  return standing
end

local function rule_batch_evaluate(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 1001)
  local now = check_time('now', args[1])
  local plan = plan_batch(namespace, cached_rules(namespace), args)
  local ctx, standing, reply = rule_context(namespace, now), standing_rules(namespace), {}
  prefetch(ctx, plan.lists)
  local rules = plan.rules
  for i = 1, #args - 1 do
    local rule = rules[i]
    if not rule then
      reply[i] = 'missing'
    elseif not rule.enabled then
      reply[i] = 'disabled'
    elseif rule.quick and not (standing and standing[rule.id]) and not quick_holds(ctx, rule, rule.quick, 1) then
      reply[i] = 'idle'
    else
      reply[i] = (step_rule(ctx, rule, redis.call('HGET', namespace .. 'rulesrv:standing', rule.id), now))
    end
  end
  return reply
end
