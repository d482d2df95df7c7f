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
  local reply, ids, after = {}, nil, args[1]
  repeat -- an id without a rule does not make a page short, which would be the last one
    local wanted = count - #reply / 5
    ids = page(namespace .. 'rulesrv:rules', after, wanted)
    for _, id in ipairs(ids) do
      for _, text in ipairs(rule_row(namespace, id) or {}) do
        reply[#reply + 1] = text
      end
    end
    after = ids[#ids]
  until #ids < wanted or #reply == 5 * count
  return reply
end
