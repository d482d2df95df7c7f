-- model_expand: return a model with all that its templates say; nothing is stored
-- KEYS   [{site}:]model id
-- ARGV   optionally a model as JSON, which is expanded in place of the stored one
-- reply  JSON: {id, name, template, templates: [root first], data: [{name, point, unit, description, min, max, value_type}],
--   action: [the same], computed: [in the order of evaluation], unmapped: [names], metadata}
-- errors INVALID, NOT_FOUND (the model, a template)
-- keys   modsrv:model:{id} r, modsrv:template:{id} r
-- flags  no-writes
local function model_expand(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 0, 1)
  local root = model_root(namespace)
  if args[1] then
    return encode_expansion(expand_model(root, read_model(id, args[1]), {}))
  end
  local config = redis.call('HGET', root .. 'model:' .. id, 'config')
  if not config then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  return encode_expansion(expand_model(root, decode_model(id, config), {}))
end
