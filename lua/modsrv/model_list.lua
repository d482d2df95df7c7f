-- model_list: return a page of models in the order of their ids
-- KEYS   [{site}:]all
-- ARGV   id after which the page begins ('' for the first), how many (1 to 1000)
-- reply  models as JSON
-- errors INVALID
-- keys   modsrv:models r, modsrv:model:{id} r
-- flags  no-writes
local function model_list(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  local count = check_integer('how many', args[2], 1, 1000)
  local reply = {}
  for i, id in ipairs(page(namespace .. 'modsrv:models', args[1], count)) do
    reply[i] = redis.call('HGET', namespace .. 'modsrv:model:' .. id, 'config')
  end
  return reply
end
