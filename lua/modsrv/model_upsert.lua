-- model_upsert: create or replace a model; the reverse map follows
-- KEYS   [{site}:]model id
-- ARGV   model as JSON: {id, name, template, mapping: {channel, offset, data: {name: point}, action: {name: point}},
--   computed: [as in a template], metadata}, and optionally who prepares a site, as told to model_stage_begin
-- reply  OK
-- errors INVALID, NOT_FOUND (a template), CONFLICT (somebody else prepares a site), FULL
-- keys   modsrv:model:{id} w, modsrv:models w, modsrv:models:by_template:{id} w, modsrv:models:by_channel:{channel} w,
--   modsrv:reverse:{channel}:{type} w, modsrv:template:{id} r, modsrv:keys w, modsrv:version w, modsrv:staged:{key} w
-- flags  none
local function model_upsert(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 1, 2)
  local root, staged = model_root(namespace, args[2])
  local model = read_model(id, args[1])
  local expansion = expand_model(root, model, {})
  if redis.call('ZCARD', root .. 'models') >= model_limit and redis.call('EXISTS', root .. 'model:' .. id) == 0 then
    refuse('FULL', 'a site has at most ' .. model_limit .. ' models')
  end
  store_model(root, id, args[1], expansion)
  if not staged then
    touch_models(root)
  end
  return redis.status_reply('OK')
end
