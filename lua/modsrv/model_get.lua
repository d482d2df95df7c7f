-- model_get: return the configuration of a model
-- KEYS   [{site}:]model id
-- ARGV   none
-- reply  model as JSON
-- errors INVALID, NOT_FOUND
-- keys   modsrv:model:{id} r
-- flags  no-writes
local function model_get(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 0, 0)
  local config = redis.call('HGET', namespace .. 'modsrv:model:' .. id, 'config')
  if not config then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  return config
end
