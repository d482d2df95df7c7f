-- comsrv_command_get: how far a command has come
-- KEYS   [{site}:]channel
-- ARGV   id
-- reply  id, type, point, number, state, number read back or '', reason, time ms
-- errors INVALID, NOT_FOUND
-- keys   comsrv:{channel}:command:{id} r
-- flags  no-writes
local function comsrv_command_get(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 1, 1)
  check_command_id(args[1])
  local fields = redis.call('HMGET', namespace .. 'comsrv:' .. channel .. ':command:' .. args[1],
    'type', 'point', 'value', 'state', 'read_back', 'reason', 'time')
  if not fields[1] then
    refuse('NOT_FOUND', 'no command ' .. shown(args[1]) .. ' on channel ' .. channel)
  end
  local reply = {args[1]}
  for i = 1, 7 do
    reply[i + 1] = fields[i] or ''
  end
  return reply
end
