-- model_write: turn an action of a model into a command on the right channel and point
-- KEYS   [{site}:]model id
-- ARGV   action, command id, number, issued ms, deadline ms, origin
-- reply  the point that the command addresses, comsrv:{channel}:{type}:{point}
-- errors INVALID, NOT_FOUND, EXPIRED, FULL, CONFLICT (the id was used for another command)
-- keys   modsrv:model:{id} r, comsrv:{channel}:commands w, comsrv:{channel}:command:{id} w
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
  local actions = redis.call('HGET', namespace .. 'modsrv:model:' .. id, 'actions')
  if not actions then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  local found
  for name, channel, kind, point, least, most, value_type in string.gmatch(actions, '(%S+) (%d+) (%u) (%d+) (%S+) (%S+) (%S+)') do
    if name == action then
      found = {channel = channel, kind = kind, point = point, least = tonumber(least), most = tonumber(most), value_type = value_type}
    end
  end
  if not found then
    refuse('NOT_FOUND', 'model ' .. shown(id) .. ' has no action ' .. shown(action))
  elseif found.least and number < found.least or found.most and number > found.most then
    refuse('INVALID', 'action ' .. shown(action) .. ' takes ' .. tostring(found.least or 'any') .. ' to ' .. tostring(found.most or 'any')
      .. ', not ' .. args[3])
  elseif found.value_type == 'bool' and number ~= 0 and number ~= 1 then
    refuse('INVALID', 'action ' .. shown(action) .. ' takes 0 or 1, not ' .. args[3])
  elseif found.value_type == 'integer' and number % 1 ~= 0 then
    refuse('INVALID', 'action ' .. shown(action) .. ' takes whole numbers, not ' .. args[3])
  end
  queue_command(namespace, found.channel, {id = args[2], kind = found.kind, point = found.point, value = args[3],
    issued = args[4], deadline = args[5], origin = args[6]})
  return 'comsrv:' .. found.channel .. ':' .. found.kind .. ':' .. found.point
end
