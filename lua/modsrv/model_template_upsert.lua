-- model_template_upsert: store a template
-- KEYS   [{site}:]template id
-- ARGV   template as JSON: {id, name, data: [{name, unit, description, min, max}], action: [...]}
-- reply  OK
-- errors INVALID
-- keys   modsrv:template:{id} w, modsrv:templates w
-- flags  none
local function model_template_upsert(keys, args)
  local namespace, id = split_key(keys)
  check_id('template id', id)
  check_count(args, 1, 1)
  local template = decode_object('the template', args[1])
  if template.id ~= id then
    refuse('INVALID', 'the template calls itself ' .. shown(tostring(template.id)) .. ' and the key ' .. shown(id))
  end
  for _, list in ipairs({'data', 'action'}) do
    local fields = template[list]
    if fields ~= nil then
      if type(fields) ~= 'table' then
        refuse('INVALID', list .. ' must be a list')
      end
      for i, field in ipairs(fields) do
        check_field(list .. '[' .. (i - 1) .. ']', field)
      end
    end
  end
  redis.call('SET', namespace .. 'modsrv:template:' .. id, args[1])
  redis.call('ZADD', namespace .. 'modsrv:templates', 0, id)
  return redis.status_reply('OK')
end
