-- model_delete: remove a model and its entries in the reverse map
-- KEYS   [{site}:]model id
-- ARGV   none
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   modsrv:model:{id} w, modsrv:models w, modsrv:models:by_template:{id} w, modsrv:models:by_channel:{channel} w,
--   modsrv:reverse:{channel}:{type} w, modsrv:keys w, modsrv:version w
-- flags  none
local function model_delete(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 0, 0)
  local root = model_root(namespace)
  if not unmap_model(root, id) then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  touch_models(root)
  return redis.status_reply('OK')
end
