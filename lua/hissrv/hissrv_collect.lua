-- hissrv_collect: take entries of the history stream as lines of line protocol
-- alias  batch_collect
-- KEYS   [{site}:]consumer
-- ARGV   new or pending (delivered before and never finished), how many (1 to 1000)
-- reply  entry, line for each
-- errors INVALID
-- keys   hissrv:stream w, hissrv:dead w, hissrv:counters w, hissrv:mapping:{id} r, hissrv:mapping:{id}:fields r
-- flags  allow-oom
local function hissrv_collect(keys, args)
  local call = redis.call
  local namespace, consumer = split_key(keys)
  check_id('consumer', consumer)
  check_count(args, 2, 2)
  if args[1] ~= 'new' and args[1] ~= 'pending' then
    refuse('INVALID', shown(args[1]) .. ' is neither new nor pending')
  end
  local count = check_integer('how many', args[2], 1, 1000)
  local stream = namespace .. 'hissrv:stream'
  if call('EXISTS', stream) == 0 then
    return {}
  end
  redis.pcall('XGROUP', 'CREATE', stream, 'hissrv', '0') -- there already, but for the first time
  local streams = call('XREADGROUP', 'GROUP', 'hissrv', consumer, 'COUNT', count, 'STREAMS', stream, args[1] == 'new' and '>' or '0')
  local reply = {}
  for _, entry in ipairs(streams and streams[1][2] or {}) do
    local id, texts, fields = entry[1], entry[2], {}
    for i = 1, #(texts or {}), 2 do
      fields[texts[i]] = texts[i + 1]
    end
    local points, numbers = {}, {}
    for point, number in string.gmatch(fields.points or '', '(%d+) (%S+)') do
      points[#points + 1], numbers[#numbers + 1] = point, number
    end
    local line = fields.mapping and history_line(namespace, fields.mapping, fields.time, points, numbers)
    if line then
      reply[#reply + 1] = id
      reply[#reply + 1] = line
    else
      bury_history(namespace, id, fields.points or '', 'no mapping ' .. (fields.mapping or ''), fields.time or '0')
    end
  end
  return reply
end
