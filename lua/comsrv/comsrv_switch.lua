-- comsrv_switch: keep that a channel is started or stopped by hand, whatever it says of itself
-- KEYS   [{site}:]channel
-- ARGV   1 (started), 0 (stopped) or '' (as it says itself)
-- reply  OK
-- errors INVALID
-- keys   comsrv:switched w
-- flags  none
local function comsrv_switch(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 1, 1)
  if args[1] == '' then
    redis.call('HDEL', namespace .. 'comsrv:switched', channel)
  else
    redis.call('HSET', namespace .. 'comsrv:switched', channel, check_integer('started', args[1], 0, 1))
  end
  return redis.status_reply('OK')
end
