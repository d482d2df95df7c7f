-- rule_tick: evaluate the rules that the passing of time may change: delays, windows, schedules, missing values
-- KEYS   [{site}:]all
-- ARGV   now ms, how many at most (1 to 1000)
-- reply  how many were evaluated, how many changed state, 1 if more are due else 0
-- errors INVALID
-- keys   rulesrv:models w, as rule_evaluate
-- flags  none
local input_period = 100              -- ms, between two looks at inputs that are behind
local mark_limit = 100                -- marks that one call looks at

-- bound_ids returns the ids of the rules bound to an index, each once, in order.
local function bound_ids(namespace, cache, index)
  cache.ids = cache.ids or {}
  if not cache.ids[index] then
    local ids, seen = {}, {}
    local function gather(id)
      if not seen[id] then
        seen[id], ids[#ids + 1] = true, id
      end
    end
    if index == 'modsrv' then
      for _, text in ipairs(redis.call('HVALS', namespace .. 'rulesrv:index:modsrv')) do
        string.gsub(text, '%S+', gather)
      end
    else
      for _, entry in pairs(watched(namespace, cache, index) or {}) do
        for _, id in ipairs(entry.ids) do
          gather(id)
        end
      end
    end
    table.sort(ids)
    cache.ids[index] = ids
  end
  return cache.ids[index]
end

-- mark_models asks for the rules of model values when the models are others than at
-- the tick before: what is behind a name may hold already.
local function mark_models(namespace, cache)
  local key = namespace .. 'rulesrv:models'
  if cache.version and cache.models ~= (redis.call('GET', key) or '') then
    redis.call('SET', key, cache.models)
    redis.call('ZADD', namespace .. 'rulesrv:due', 0, '*modsrv')
  end
end

-- take_marks makes up to most rules due of those that marks ask for. A mark that is
-- not done names the rule after which the next call goes on.
local function take_marks(namespace, cache, now, most)
  local key, left = namespace .. 'rulesrv:due', most
  for _, mark in ipairs(redis.call('ZRANGEBYSCORE', key, 0, 0, 'LIMIT', 0, mark_limit)) do
    local index, after = string.match(mark, '^%*(%S+) ?(%S*)$')
    redis.call('ZREM', key, mark)
    for _, id in ipairs(bound_ids(namespace, cache, index)) do
      if left == 0 then
        redis.call('ZADD', key, 0, '*' .. index .. ' ' .. after)
        return
      elseif id > after then
        redis.call('ZADD', key, 'LT', now, id)
        after, left = id, left - 1
      end
    end
  end
end

local function rule_tick(keys, args)
  local call = redis.call
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  local now, most = check_time('now', args[1]), check_integer('how many', args[2], 1, 1000)
  local key = namespace .. 'rulesrv:due'
  local cache, changed = cached_rules(namespace), 0
  mark_models(namespace, cache)
  take_marks(namespace, cache, now, most)
  local due = call('ZRANGEBYSCORE', key, 1, now, 'LIMIT', 0, most)
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
  local more = call('ZCOUNT', key, '-inf', now) > 0
  return {tostring(#due), tostring(changed), more and '1' or '0'}
end
