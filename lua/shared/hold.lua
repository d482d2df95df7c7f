-- Holds: the time for which a value that was written may stand. When nobody
-- renews it in time, comsrv writes the safe value of the point.
--
-- Of each point comsrv:{channel}:holds keeps until when the value in force stands,
-- and of a write that has left, or is about to, its command and until when its
-- value would stand. comsrv:holds has the earlier of both: as long as it is not
-- known which value is in force, the safe one comes early rather than late.

local hold_limit = 604800000        -- longest, ms

local function read_hold(namespace, channel, place)
  local fields = redis.call('HMGET', namespace .. 'comsrv:' .. channel .. ':holds', place, place .. ':next', place .. ':next_until')
  return {until_ms = fields[1] or nil, next = fields[2] or nil, next_until = fields[3] or nil,
    due = redis.call('ZSCORE', namespace .. 'comsrv:holds', channel .. ':' .. place) or nil}
end

-- earlier returns the earlier of two times, of which either may be missing.
local function earlier(one, other)
  if not one or other and tonumber(other) < tonumber(one) then
    return other
  end
  return one
end

-- keep_hold stores a hold, and nothing of one without a time.
local function keep_hold(namespace, channel, place, hold)
  local call = redis.call
  local key, index, member = namespace .. 'comsrv:' .. channel .. ':holds', namespace .. 'comsrv:holds', channel .. ':' .. place
  call('HDEL', key, place, place .. ':next', place .. ':next_until')
  local due = earlier(hold.until_ms, hold.next_until)
  if not due then
    call('ZREM', index, member)
    return
  end
  call('ZADD', index, due, member)
  if hold.until_ms then
    call('HSET', key, place, hold.until_ms)
  end
  if hold.next then
    call('HSET', key, place .. ':next', hold.next)
  end
  if hold.next_until then
    call('HSET', key, place .. ':next_until', hold.next_until)
  end
end

-- forget_holds removes all holds of a channel.
local function forget_holds(namespace, channel)
  local key = namespace .. 'comsrv:' .. channel .. ':holds'
  for _, field in ipairs(redis.call('HKEYS', key)) do
    redis.call('ZREM', namespace .. 'comsrv:holds', channel .. ':' .. string.match(field, '^%a:%d+'))
  end
  redis.call('UNLINK', key)
end
