-- hissrv_finish: take entries that are in history for good out of the stream
-- KEYS   [{site}:]batch
-- ARGV   1 to 1000 entries
-- reply  how many were there
-- errors INVALID
-- keys   hissrv:stream w, hissrv:counters w
-- flags  allow-oom
local function hissrv_finish(keys, args)
  local namespace = split_key(keys)
  check_count(args, 1, 1000)
  for _, entry in ipairs(args) do
    check_entry(entry)
  end
  local stream = namespace .. 'hissrv:stream'
  if redis.call('EXISTS', stream) == 0 then
    return '0'
  end
  redis.call('XACK', stream, 'hissrv', unpack(args))
  local removed = redis.call('XDEL', stream, unpack(args))
  redis.call('HINCRBY', namespace .. 'hissrv:counters', 'written', removed)
  return tostring(removed)
end
