-- rule_firings: the last times that a rule became active, with the values seen
-- KEYS   [{site}:]rule id
-- ARGV   how many (1 to 20)
-- reply  JSON {time, values: {source: number or null}} for each, newest first
-- errors INVALID
-- keys   rulesrv:firings:{id} r
-- flags  no-writes
local function rule_firings(keys, args)
  local namespace, id = split_key(keys)
  check_id('rule id', id)
  check_count(args, 1, 1)
  return redis.call('LRANGE', namespace .. 'rulesrv:firings:' .. id, 0, check_integer('how many', args[1], 1, firing_limit) - 1)
end
