-- comsrv_command_begin: take a command from queued to executing, once and before its deadline
-- KEYS   [{site}:]channel
-- ARGV   id, now ms
-- reply  executing
-- errors INVALID, EXPIRED, CONFLICT (begun before: bytes may have left)
-- keys   comsrv:{channel}:command:{id} w
-- flags  none
local function comsrv_command_begin(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 2, 2)
  check_command_id(args[1])
  check_time('now', args[2])
  local key = namespace .. 'comsrv:' .. channel .. ':command:' .. args[1]
  local state, deadline = unpack(redis.call('HMGET', key, 'state', 'deadline'))
  if not state then
    refuse('EXPIRED', 'command ' .. shown(args[1]) .. ' is older than commands are remembered')
  elseif state ~= 'queued' then
    refuse('CONFLICT', 'command ' .. shown(args[1]) .. ' is ' .. state .. ' already')
  elseif tonumber(args[2]) > tonumber(deadline) then
    refuse('EXPIRED', 'the deadline of command ' .. shown(args[1]) .. ' has passed')
  end
  redis.call('HSET', key, 'state', 'executing', 'time', args[2], 'begun', args[2])
  return 'executing'
end
