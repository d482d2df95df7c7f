-- model_template_upsert: create or replace a template; every model that follows it is expanded anew
-- KEYS   [{site}:]template id
-- ARGV   template as JSON: {id, name, extends, data: [{name, unit, description, type, point, min, max, value_type}],
--   action: [the same], computed: [{name, unit, function, of, factor, offset} or {name, unit, expression}], metadata},
--   and optionally who prepares a site, as told to model_stage_begin: it is then stored there, not put in use
-- reply  OK
-- errors INVALID, NOT_FOUND (what it extends), CONFLICT (what follows it would no longer fit; or somebody else prepares a site)
-- keys   modsrv:template:{id} w, modsrv:templates w, modsrv:templates:by_parent:{id} w, modsrv:models:by_template:{id} w,
--   modsrv:model:{id} w, modsrv:models w, modsrv:models:by_channel:{channel} w, modsrv:reverse:{channel}:{type} w,
--   modsrv:keys w, modsrv:version w, modsrv:staged:{key} w
-- flags  none
local function model_template_upsert(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_id('template id', id)
  check_count(args, 1, 2)
  local root, staged = model_root(namespace, args[2])
  local template = read_template(id, args[1])
  local before = find_template(root, id, {})
  local known = {[id] = template}
  check_template(root, template, known)
  local followers = expand_followers(root, id, known)

  if before and (before.extends or '') ~= '' then
    index_remove(root, 'templates:by_parent:' .. before.extends, id)
  end
  call('SET', root .. 'template:' .. id, args[1])
  note_key(root, 'template:' .. id)
  index_add(root, 'templates', id)
  if (template.extends or '') ~= '' then
    index_add(root, 'templates:by_parent:' .. template.extends, id)
  end
  for _, follower in ipairs(followers) do
    store_model(root, follower.id, follower.config, follower.expansion)
  end
  if not staged then
    touch_models(root)
  end
  return redis.status_reply('OK')
end
