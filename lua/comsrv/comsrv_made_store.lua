-- comsrv_made_store: keep the document of a channel that is made through the API; what a switch said of the one before is forgotten
-- KEYS   [{site}:]channel
-- ARGV   document (1 to 1048576 bytes): an entry of channels.yaml with the tables of its points, YAML or JSON; only comsrv looks into it
-- reply  OK
-- errors INVALID, FULL
-- keys   comsrv:made:{channel} w, comsrv:made w, comsrv:switched w
-- flags  none
local function comsrv_made_store(keys, args)
  local call, made_limit = redis.call, 5000
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 1, 1)
  check_text('the document', args[1], 1, 1048576)
  local index = namespace .. 'comsrv:made'
  if not call('ZSCORE', index, channel) and call('ZCARD', index) >= made_limit then
    refuse('FULL', made_limit .. ' channels were made through the API already: remove some, or put them into channels.yaml')
  end
  call('SET', index .. ':' .. channel, args[1])
  call('ZADD', index, channel, channel)
  call('HDEL', namespace .. 'comsrv:switched', channel)
  return redis.status_reply('OK')
end
