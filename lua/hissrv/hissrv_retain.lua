-- hissrv_retain: end the feed of every source that is not named; what waits is still delivered
-- KEYS   [{site}:]all
-- ARGV   0 to 5000 mapping ids that go on
-- reply  how many sources were let go
-- errors INVALID
-- keys   hissrv:sources w
-- flags  none
local function hissrv_retain(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 5000)
  local named = {}
  for _, id in ipairs(args) do
    named[check_id('mapping id', id)] = true
  end
  local sources = redis.call('HGETALL', namespace .. 'hissrv:sources')
  local gone = 0
  for i = 1, #sources, 2 do
    if not named[sources[i + 1]] then
      redis.call('HDEL', namespace .. 'hissrv:sources', sources[i])
      gone = gone + 1
    end
  end
  return tostring(gone)
end
