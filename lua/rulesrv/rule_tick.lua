-- rule_tick: evaluate the rules that the passing of time may change: delays, windows, schedules, missing values
-- KEYS   [{site}:]all
-- ARGV   now ms, how many at most (1 to 1000)
-- reply  how many were evaluated, how many changed state, 1 if more are due else 0
-- errors INVALID
-- keys   as rule_evaluate
-- flags  none
local input_period = 100              -- ms, between two looks at inputs that are behind

local function rule_tick(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  local now, most = check_time('now', args[1]), check_integer('how many', args[2], 1, 1000)
  local key = namespace .. 'rulesrv:due'
  local due = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, most)
  local cache, changed = cached_rules(namespace), 0
  local ctx = rule_context(namespace, now)
  for _, id in ipairs(due) do
    local rule = compiled_rule(namespace, cache, id)
    call('ZREM', key, id)
    if rule and rule.enabled then
      local standing = call('HGET', namespace .. 'rulesrv:standing', id)
      local state, moved = step_rule(ctx, rule, standing, now)
      changed = changed + (moved and 1 or 0)
      if not moved and delay_of(rule, state) then
        -- What waits on a delay that is over waits for inputs that have come so far.
        look_again(ctx, rule, math.max(string.match(standing, '%d+$') + delay_of(rule, state), ctx.at + input_period))
      end
      if rule.ticks then
        look_again(ctx, rule, ctx.at + tick_period)
      end
    end
  end
  local more = #due == most and call('ZCOUNT', key, '-inf', now) > 0
  return {tostring(#due), tostring(changed), more and '1' or '0'}
end
