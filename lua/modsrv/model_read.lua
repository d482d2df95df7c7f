-- model_read: all values of a model in one call, computed ones too
-- KEYS   [{site}:]model id
-- ARGV   now ms
-- reply  the layout: a line "name channel type point" for each value; then, for each run of lines with the same channel and
--   type, numbers (null if never read), source times ms, qualities (empty when all are good); then, if there are computed
--   values, names, numbers, times and qualities of those
-- errors INVALID, NOT_FOUND
-- keys   modsrv:model:{id} r, comsrv:{channel}:{type} r, comsrv:{channel}:{type}:ts r, comsrv:{channel}:{type}:q r,
--   comsrv:{channel}:{type}:g r, comsrv:{channel}:status r
-- flags  no-writes
local function model_read(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 1, 1)
  local now = check_time('now', args[1])
  local stored = redis.call('HMGET', namespace .. 'modsrv:model:' .. id, 'layout', 'computed')
  if not stored[1] then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  return read_values(namespace, stored[1], stored[2], now)
end
