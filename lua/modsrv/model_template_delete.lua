-- model_template_delete: remove a template that nothing follows
-- KEYS   [{site}:]template id
-- ARGV   none
-- reply  OK
-- errors INVALID, NOT_FOUND, CONFLICT (a model or another template follows it)
-- keys   modsrv:template:{id} w, modsrv:templates w, modsrv:templates:by_parent:{id} w, modsrv:models:by_template:{id} r,
--   modsrv:keys w, modsrv:version w
-- flags  none
local function model_template_delete(keys, args)
  local namespace, id = split_key(keys)
  check_id('template id', id)
  check_count(args, 0, 0)
  local root = model_root(namespace)
  local template = find_template(root, id, {})
  if not template then
    refuse('NOT_FOUND', 'no template ' .. shown(id))
  end
  for what, index in pairs({model = 'models:by_template:', template = 'templates:by_parent:'}) do
    local follower = redis.call('ZRANGE', root .. index .. id, 0, 0)[1]
    if follower then
      refuse('CONFLICT', 'template ' .. shown(id) .. ' is in use by ' .. what .. ' ' .. shown(follower))
    end
  end
  redis.call('DEL', root .. 'template:' .. id)
  forget_key(root, 'template:' .. id)
  index_remove(root, 'templates', id)
  if (template.extends or '') ~= '' then
    index_remove(root, 'templates:by_parent:' .. template.extends, id)
  end
  touch_models(root)
  return redis.status_reply('OK')
end
