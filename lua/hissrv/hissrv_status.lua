-- hissrv_status: how the history feed stands
-- alias  get_batch_status
-- KEYS   [{site}:]all
-- ARGV   none
-- reply  entries waiting, written, dropped, dead letters kept
-- errors INVALID
-- keys   hissrv:stream r, hissrv:dead r, hissrv:counters r
-- flags  no-writes
local function hissrv_status(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 0)
  local written, dropped = unpack(redis.call('HMGET', namespace .. 'hissrv:counters', 'written', 'dropped'))
  return {tostring(redis.call('XLEN', namespace .. 'hissrv:stream')), written or '0', dropped or '0',
    tostring(redis.call('XLEN', namespace .. 'hissrv:dead'))}
end
