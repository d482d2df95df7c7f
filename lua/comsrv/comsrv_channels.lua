-- comsrv_channels: the channels of the site and how each stands
-- KEYS   [{site}:]all
-- ARGV   none
-- reply  channel, online (0 or 1), reason, errors, updated ms for each, in the order of their numbers
-- errors INVALID
-- keys   comsrv:channels r, comsrv:{channel}:status r
-- flags  no-writes
local function comsrv_channels(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 0)
  local channels = redis.call('SMEMBERS', namespace .. 'comsrv:channels')
  table.sort(channels, function(a, b) return tonumber(a) < tonumber(b) end)
  local reply = {}
  for _, channel in ipairs(channels) do
    local status = redis.call('HMGET', namespace .. 'comsrv:' .. channel .. ':status', 'online', 'reason', 'errors', 'updated')
    reply[#reply + 1] = channel
    for i = 1, 4 do
      reply[#reply + 1] = status[i] or ''
    end
  end
  return reply
end
