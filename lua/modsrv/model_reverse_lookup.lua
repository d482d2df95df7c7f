-- model_reverse_lookup: which models name a point, and how
-- KEYS   [{site}:]channel
-- ARGV   type, point
-- reply  model, name for each
-- errors INVALID
-- keys   modsrv:reverse:{channel}:{type} r
-- flags  no-writes
local function model_reverse_lookup(keys, args)
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 2, 2)
  check_type(args[1])
  check_number_id('point', args[2])
  local reply = {}
  local entries = redis.call('HGET', namespace .. 'modsrv:reverse:' .. channel .. ':' .. args[1], args[2])
  for model, name in string.gmatch(entries or '', '([^%s:]+):(%S+)') do
    reply[#reply + 1] = model
    reply[#reply + 1] = name
  end
  return reply
end
