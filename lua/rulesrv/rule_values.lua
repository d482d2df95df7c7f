-- rule_values: the custom values of the site
-- KEYS   [{site}:]all
-- ARGV   none
-- reply  name, number for each, in the order of their names
-- errors INVALID
-- keys   rulesrv:custom r
-- flags  no-writes
local function rule_values(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 0)
  local names, reply = redis.call('HKEYS', namespace .. 'rulesrv:custom'), {}
  table.sort(names)
  for i, name in ipairs(names) do
    reply[2 * i - 1], reply[2 * i] = name, redis.call('HGET', namespace .. 'rulesrv:custom', name)
  end
  return reply
end
