-- comsrv_made_delete: forget the document of a channel that was made through the API
-- KEYS   [{site}:]channel
-- ARGV   none
-- reply  OK
-- errors INVALID, NOT_FOUND
-- keys   comsrv:made:{channel} w, comsrv:made w, comsrv:switched w
-- flags  allow-oom
local function comsrv_made_delete(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 0, 0)
  local index = namespace .. 'comsrv:made'
  if call('ZREM', index, channel) == 0 then
    refuse('NOT_FOUND', 'no channel ' .. channel .. ' was made through the API')
  end
  call('UNLINK', index .. ':' .. channel)
  call('HDEL', namespace .. 'comsrv:switched', channel)
  return redis.status_reply('OK')
end
