-- hissrv_convert: turn values into one line of InfluxDB line protocol
-- alias  convert_to_line_protocol
-- KEYS   [{site}:]mapping id
-- ARGV   time ms, then point, number for each of 1 to 1000
-- reply  the line
-- errors INVALID, NOT_FOUND
-- keys   hissrv:mapping:{id} r, hissrv:mapping:{id}:fields r
-- flags  no-writes
local function hissrv_convert(keys, args)
  local namespace, id = split_key(keys)
  check_id('mapping id', id)
  if #args < 3 or #args > 2001 or #args % 2 ~= 1 then
    refuse('INVALID', 'time is expected, then point and number for 1 to 1000 points')
  end
  check_time('time', args[1])
  local points, numbers = {}, {}
  for i = 2, #args, 2 do
    points[#points + 1] = check_number_id('point', args[i])
    numbers[#numbers + 1] = check_number('the number of point ' .. args[i], args[i + 1])
  end
  local line = history_line(namespace, id, args[1], points, numbers)
  if not line then
    refuse('NOT_FOUND', 'no mapping ' .. shown(id))
  end
  return line
end
