-- model_template_list: return a page of templates in the order of their ids
-- KEYS   [{site}:]all
-- ARGV   id after which the page begins ('' for the first), how many (1 to 1000), template that they extend directly ('' for any)
-- reply  templates as JSON
-- errors INVALID
-- keys   modsrv:templates r, modsrv:templates:by_parent:{id} r, modsrv:template:{id} r
-- flags  no-writes
local function model_template_list(keys, args)
  local namespace = split_key(keys)
  check_count(args, 3, 3)
  local count = check_integer('how many', args[2], 1, 1000)
  local index = 'modsrv:templates'
  if args[3] ~= '' then
    index = index .. ':by_parent:' .. check_id('extends', args[3])
  end
  local reply = {}
  for i, id in ipairs(page(namespace .. index, args[1], count)) do
    reply[i] = redis.call('GET', namespace .. 'modsrv:template:' .. id)
  end
  return reply
end
