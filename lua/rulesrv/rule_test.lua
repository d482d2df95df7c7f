-- rule_test: run a rule over given values, or look at it with the live ones; nothing is stored
-- KEYS   [{site}:]rule id
-- ARGV   rule as JSON, what the test before replied ('' for the first), live or given, then time ms, source and number in turn,
--   in the order of time: each is one event; the number is '' where the input is bad; live takes the time alone
-- reply  what to hand over to the next call, then for each change of state: time ms, from, to, values as JSON
-- errors INVALID
-- keys   rulesrv:custom r, modsrv:model:{id} r, comsrv:{channel}:{type} r, comsrv:{channel}:{type}:q r,
--   comsrv:{channel}:{type}:ts r, comsrv:{channel}:{type}:g r, comsrv:{channel}:status r
-- flags  no-writes
local function rule_test(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 4, 3003)
  local config = read_rule(args[1])
  config.id = id
  if args[3] == 'live' then
    check_count(args, 4, 4)
    return test_live(namespace, config, check_time('now', args[4]))
  elseif args[3] ~= 'given' then
    refuse('INVALID', 'unknown kind of test ' .. shown(args[3]) .. ': use live or given')
  elseif (#args - 3) % 3 ~= 0 then
    refuse('INVALID', 'values come as time, source and number in turn')
  end
  return test_given(namespace, config, args[2], args)
end
