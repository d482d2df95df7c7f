-- rule_schedule: say when a rule with a schedule is in force; outside of that it is idle
-- KEYS   [{site}:]rule id
-- ARGV   now ms, then up to 200 times ms in pairs, from and till
-- reply  the state of the rule
-- errors INVALID, NOT_FOUND
-- keys   rulesrv:rule:{id} w, rulesrv:version w, rulesrv:sequence w, as rule_evaluate
-- flags  none
local function rule_schedule(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 1, 201)
  local now = check_time('now', args[1])
  if #args % 2 ~= 1 then
    refuse('INVALID', 'times come in pairs, from and till')
  end
  local windows = {}
  for i = 2, #args, 2 do
    local from, till = check_time('from', args[i]), check_time('till', args[i + 1])
    if tonumber(from) >= tonumber(till) then
      refuse('INVALID', 'from ' .. from .. ' is not before till ' .. till)
    end
    windows[#windows + 1] = from .. '-' .. till
  end
  local key, text = namespace .. 'rulesrv:rule:' .. id, table.concat(windows, ' ')
  if redis.call('EXISTS', key) == 0 then
    refuse('NOT_FOUND', 'no rule ' .. shown(id))
  end
  if redis.call('HGET', key, 'windows') ~= text then
    redis.call('HSET', key, 'windows', text)
    touch_rules(namespace, now)
  end
  return (look_at_rule(namespace, id, now))
end
