-- comsrv_mark: set the quality of every stored point of a channel at once; numbers and times stay
-- KEYS   [{site}:]channel
-- ARGV   quality ('' is good), now ms
-- reply  how many points were marked
-- errors INVALID
-- keys   comsrv:{channel}:{type} r, comsrv:{channel}:{type}:q w, rulesrv:due w, rulesrv:version r
-- flags  none
local function comsrv_mark(keys, args)
  local call = redis.call
  local namespace, channel = split_key(keys)
  check_number_id('channel', channel)
  check_count(args, 2, 2)
  local quality, now = args[1], check_time('now', args[2])
  if quality ~= '' and quality ~= 'bad' and quality ~= 'uncertain' and quality ~= 'stale' then
    refuse('INVALID', 'unknown quality ' .. shown(quality) .. ": use '', uncertain, stale or bad")
  end
  local marked = 0
  for _, kind in ipairs({'T', 'S', 'C', 'A'}) do
    local base = namespace .. 'comsrv:' .. channel .. ':' .. kind
    local points = call('HKEYS', base)
    marked = marked + #points
    if quality == '' then
      call('DEL', base .. ':q')
    else
      for first = 1, #points, 1000 do
        local marks, told = {}, {}
        for i = first, math.min(first + 999, #points) do
          marks[#marks + 1] = points[i]
          marks[#marks + 1] = quality
          told[#told + 1] = '"' .. points[i] .. '":"' .. quality .. '"'
        end
        call('HSET', base .. ':q', unpack(marks))
        tell_update(namespace, channel, kind, now, '', table.concat(told, ','))
      end
    end
  end
  if quality == '' then
    look_at_channel(namespace, channel)
  end
  return tostring(marked)
end
