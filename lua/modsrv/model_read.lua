-- model_read: all data values of a model in one call
-- KEYS   [{site}:]model id
-- ARGV   now ms
-- reply  name, point (comsrv:{channel}:{type}:{point}), number ('' if never read), time ms, quality for each name in order
-- errors INVALID, NOT_FOUND
-- keys   modsrv:model:{id} r, comsrv:{channel}:{type} r, comsrv:{channel}:{type}:ts r, comsrv:{channel}:{type}:q r,
--   comsrv:{channel}:{type}:g r, comsrv:{channel}:status r
-- flags  no-writes
local function model_read(keys, args)
  local namespace, id = split_key(keys)
  check_id('model id', id)
  check_count(args, 1, 1)
  check_time('now', args[1])
  local channel, data = unpack(redis.call('HMGET', namespace .. 'modsrv:model:' .. id, 'channel', 'data'))
  if not channel then
    refuse('NOT_FOUND', 'no model ' .. shown(id))
  end
  local names, kinds, points, places, by_kind = {}, {}, {}, {}, {}
  for name, kind, point in string.gmatch(data, '(%S+) (%u) (%d+)') do
    local n = #names + 1
    names[n], kinds[n], points[n] = name, kind, point
    by_kind[kind] = by_kind[kind] or {}
    local list = by_kind[kind]
    list[#list + 1] = point
    places[n] = #list
  end
  local values = {}
  for kind, list in pairs(by_kind) do
    values[kind] = read_points(namespace, channel, kind, list, args[1])
  end
  local reply, prefix = {}, 'comsrv:' .. channel .. ':'
  for n = 1, #names do
    local read, at = values[kinds[n]], 3 * (places[n] - 1)
    local r = #reply
    reply[r + 1], reply[r + 2] = names[n], prefix .. kinds[n] .. ':' .. points[n]
    reply[r + 3], reply[r + 4], reply[r + 5] = read[at + 1], read[at + 2], read[at + 3]
  end
  return reply
end
