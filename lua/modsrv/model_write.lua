-- model_write: turn an action of a model into a command on the right point
-- KEYS   [{site}:]model id
-- ARGV   action, command id, number, issued ms, deadline ms, origin
-- reply  the point that the command addresses, comsrv:{channel}:{type}:{point}
-- errors INVALID, NOT_FOUND, EXPIRED, FULL
-- keys   modsrv:model:{id} r, modsrv:template:{template} r, comsrv:{channel}:commands w, comsrv:{channel}:command:{id} w
-- flags  none
local function model_write(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 6, 6)
  local action = check_id('action', args[1])
  check_id('command id', args[2])
  local number = tonumber(check_number('the number', args[3]))
  check_time('issued', args[4])
  check_time('deadline', args[5])
  check_text('origin', args[6], 1, 200)
  if tonumber(args[5]) <= tonumber(args[4]) then
    refuse('EXPIRED', 'the deadline is not after the time of issue')
  end
  local channel, actions, config = unpack(redis.call('HMGET', namespace .. 'modsrv:model:' .. id, 'channel', 'action', 'config'))
  if not channel then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  local found_kind, found_point
  for name, kind, point in string.gmatch(actions, '(%S+) (%u) (%d+)') do
    if name == action then
      found_kind, found_point = kind, point
    end
  end
  if not found_kind then
    refuse('NOT_FOUND', 'model ' .. shown(id) .. ' has no action ' .. shown(action))
  end
  local template = decode_object('the model', config).template
  local stored = type(template) == 'string' and redis.call('GET', namespace .. 'modsrv:template:' .. template)
  for _, field in ipairs(stored and decode_object('the template', stored).action or {}) do
    if field.name == action and (field.min and number < field.min or field.max and number > field.max) then
      refuse('INVALID', 'action ' .. shown(action) .. ' takes ' .. tostring(field.min or 'any') .. ' to ' .. tostring(field.max or 'any')
        .. ', not ' .. args[3])
    end
  end
  queue_command(namespace, channel, {id = args[2], kind = found_kind, point = found_point, value = args[3],
    issued = args[4], deadline = args[5], origin = args[6]})
  return 'comsrv:' .. channel .. ':' .. found_kind .. ':' .. found_point
end
