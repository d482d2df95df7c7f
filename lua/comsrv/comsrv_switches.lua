-- comsrv_switches: which channels are started or stopped by hand
-- KEYS   [{site}:]all
-- ARGV   none
-- reply  channel, 1 (started) or 0 (stopped) for each, in the order of their numbers
-- errors INVALID
-- keys   comsrv:switched r
-- flags  no-writes
local function comsrv_switches(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 0)
  local switched = namespace .. 'comsrv:switched'
  local channels = redis.call('HKEYS', switched)
  table.sort(channels, function(a, b) return tonumber(a) < tonumber(b) end)
  local reply = {}
  for _, channel in ipairs(channels) do
    reply[#reply + 1], reply[#reply + 2] = channel, redis.call('HGET', switched, channel)
  end
  return reply
end
