-- hissrv_configure: send the points of a source to history from now on, in place of any other mapping of it
-- alias  configure_mapping
-- KEYS   [{site}:]mapping id
-- ARGV   source (comsrv:{channel}:{type}), measurement, number of tags (0 to 50), then tag, value for each, then point, field for
--   each of 0 to 100000
-- reply  OK
-- errors INVALID
-- keys   hissrv:mapping:{id} w, hissrv:mapping:{id}:fields w, hissrv:sources w
-- flags  none
local function hissrv_configure(keys, args)
  local call = redis.call
  local namespace, id = split_key(keys)
  check_id('mapping id', id)
  if #args < 3 then
    refuse('INVALID', 'source, measurement and number of tags are expected, then tags and fields')
  end
  local source, measurement, tags = args[1], args[2], check_integer('number of tags', args[3], 0, 50)
  local channel, kind = string.match(source, '^comsrv:([1-9]%d*):([TSCA])$')
  if not channel then
    refuse('INVALID', 'source ' .. shown(source) .. ' is not of the form comsrv:{channel}:{type}')
  end
  check_number_id('the channel of the source', channel)
  check_name('measurement', measurement)
  if #args < 3 + 2 * tags or (#args - 3) % 2 ~= 0 or #args > 3 + 2 * tags + 200000 then
    refuse('INVALID', 'each tag and each field needs a name and a value, and at most 100000 fields are allowed')
  end
  local prefix, given = {escape_measurement(measurement), 'channel=' .. channel, 'type=' .. kind}, {}
  for i = 4, 3 + 2 * tags, 2 do
    local name, value = check_name('tag', args[i]), check_name('the value of a tag', args[i + 1])
    if name == 'channel' or name == 'type' then
      refuse('INVALID', 'tag ' .. name .. ' is set by the system')
    elseif given[name] then
      refuse('INVALID', 'tag ' .. shown(name) .. ' is given twice')
    end
    given[name] = true
    prefix[#prefix + 1] = escape_name(name) .. '=' .. escape_name(value)
  end
  local fields = {}
  for i = 4 + 2 * tags, #args, 2 do
    fields[#fields + 1] = check_number_id('point', args[i])
    fields[#fields + 1] = escape_name(check_name('the field of a point', args[i + 1]))
  end

  local key = namespace .. 'hissrv:mapping:' .. id
  local before = call('HGET', key, 'source')
  if before and before ~= source and call('HGET', namespace .. 'hissrv:sources', before) == id then
    call('HDEL', namespace .. 'hissrv:sources', before)
  end
  call('HSET', key, 'source', source, 'measurement', measurement, 'prefix', table.concat(prefix, ','))
  call('DEL', key .. ':fields')
  for first = 1, #fields, 1000 do
    call('HSET', key .. ':fields', unpack(fields, first, math.min(first + 999, #fields)))
  end
  call('HSET', namespace .. 'hissrv:sources', source, id)
  return redis.status_reply('OK')
end
