-- rule_list: return a page of rules in the order of their ids
-- KEYS   [{site}:]all
-- ARGV   id after which the page begins ('' for the first), how many (1 to 1000)
-- reply  the texts of rule_get for each
-- errors INVALID
-- keys   rulesrv:rules r, rulesrv:rule:{id} r, rulesrv:state:{id} r, rulesrv:standing r
-- flags  no-writes
local function rule_list(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  local count = check_integer('how many', args[2], 1, 1000)
  local reply = {}
  for _, id in ipairs(page(namespace .. 'rulesrv:rules', args[1], count)) do
    for _, text in ipairs(rule_row(namespace, id) or {}) do
      reply[#reply + 1] = text
    end
  end
  return reply
end
