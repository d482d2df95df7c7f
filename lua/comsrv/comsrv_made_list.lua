-- comsrv_made_list: return a page of the channels that were made through the API; it ends early once its documents have 1 MiB together
-- KEYS   [{site}:]all
-- ARGV   channel after which the page begins (0 for the first), how many (1 to 1000)
-- reply  channel, document for each, in the order of their numbers
-- errors INVALID
-- keys   comsrv:made r, comsrv:made:{channel} r
-- flags  no-writes
local function comsrv_made_list(keys, args)
  local namespace = split_key(keys)
  check_count(args, 2, 2)
  check_integer('channel', args[1], 0, 4294967295)
  check_integer('how many', args[2], 1, 1000)
  local index = namespace .. 'comsrv:made'
  local reply, bytes = {}, 0
  for _, channel in ipairs(redis.call('ZRANGEBYSCORE', index, '(' .. args[1], '+inf', 'LIMIT', 0, args[2])) do
    local document = redis.call('GET', index .. ':' .. channel) or ''
    reply[#reply + 1], reply[#reply + 2] = channel, document
    bytes = bytes + #document
    if bytes >= 1048576 then
      break
    end
  end
  return reply
end
