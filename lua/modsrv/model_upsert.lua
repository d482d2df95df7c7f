-- model_upsert: create or replace a model; the reverse map follows
-- KEYS   [{site}:]model id
-- ARGV   model as JSON: {id, name, template, mapping: {channel, data: {name: point}, action: {name: point}}}
-- reply  OK
-- errors INVALID, NOT_FOUND (the template)
-- keys   modsrv:model:{id} w, modsrv:models w, modsrv:reverse:{channel}:{type} w, modsrv:template:{template} r
-- flags  none
local function model_upsert(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 1, 1)
  local model = decode_object('the model', args[1])
  if model.id ~= id then
    refuse('INVALID', 'the model calls itself ' .. shown(tostring(model.id)) .. ' and the key ' .. shown(id))
  end
  local mapping = model.mapping
  if type(mapping) ~= 'table' or type(mapping.channel) ~= 'number' then
    refuse('INVALID', 'mapping.channel is missing')
  end
  local channel = check_number_id('mapping.channel', string.format('%.0f', mapping.channel))
  local data, action = flatten_mapping('mapping.data', mapping.data, 'T'), flatten_mapping('mapping.action', mapping.action, 'C')
  local template = model.template
  if template ~= nil and template ~= '' then
    local stored = redis.call('GET', namespace .. 'modsrv:template:' .. check_id('template', tostring(template)))
    if not stored then
      refuse('NOT_FOUND', 'no template ' .. shown(template))
    end
    local decoded = decode_object('the template', stored)
    check_names('mapping.data', data, decoded.data)
    check_names('mapping.action', action, decoded.action)
  end

  unmap_model(namespace, id)
  redis.call('HSET', namespace .. 'modsrv:model:' .. id, 'config', args[1], 'channel', channel,
    'data', table.concat(data, '\n'), 'action', table.concat(action, '\n'))
  redis.call('ZADD', namespace .. 'modsrv:models', 0, id)
  map_model(namespace, id, channel, data)
  map_model(namespace, id, channel, action)
  return redis.status_reply('OK')
end
