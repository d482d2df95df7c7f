-- model_delete: remove a model and its entries in the reverse map
-- KEYS   [{site}:]model id
-- ARGV   none
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   modsrv:model:{id} w, modsrv:models w, modsrv:reverse:{channel}:{type} w
-- flags  none
local function model_delete(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 0, 0)
  if redis.call('EXISTS', namespace .. 'modsrv:model:' .. id) == 0 then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  unmap_model(namespace, id)
  redis.call('DEL', namespace .. 'modsrv:model:' .. id)
  redis.call('ZREM', namespace .. 'modsrv:models', id)
  return redis.status_reply('OK')
end
