-- alarm_journal: return a page of the journal; of one alarm at most 200 entries of all are looked at in one call
-- KEYS   [{site}:]all
-- ARGV   alarm id or '', direction (newer or older), entry id before the page ('' for the first), how many (1 to 200)
-- reply  entry id before the next page ('' at the end; a page may be short, or empty, before), then for each entry: its id, event, alarm id,
--   state before, state after, time ms, by whom, level, source, rule, title, occurrence, value, text
-- errors INVALID
-- keys   alarmsrv:journal r
-- flags  no-writes

local journal_page = 200            -- entries looked at in one call

-- list_journal returns where the next page begins ('' at the end) and then the
-- id and the texts of up to count entries before or after one, of an alarm or of all.
local function list_journal(namespace, alarm, direction, cursor, count)
  local most, older = alarm == '' and count or journal_page, direction == 'older'
  local command, first, last = 'XRANGE', cursor == '' and '-' or '(' .. cursor, '+'
  if older and string.find(cursor, '^0+%-0+$') then -- there is none before
    return {''}
  elseif older then
    command, first, last = 'XREVRANGE', cursor == '' and '+' or '(' .. cursor, '-'
  end
  local entries = redis.call(command, namespace .. 'alarmsrv:journal', first, last, 'COUNT', most + 1)
  local reply, found, looked = {''}, 0, math.min(#entries, most)
  for i = 1, looked do
    local fields = entries[i][2]
    if alarm == '' or fields[4] == alarm then -- the fields are in the order in which they were written
      reply[#reply + 1] = entries[i][1]
      for at = 2, #fields, 2 do
        reply[#reply + 1] = fields[at]
      end
      found = found + 1
      if found == count then
        looked = i
        break
      end
    end
  end
  if looked < #entries then
    reply[1] = entries[looked][1]
  end
  return reply
end

local function alarm_journal(keys, args)
  local namespace = split_key(keys)
  check_count(args, 4, 4)
  local alarm, direction, cursor = args[1], args[2], args[3]
  if alarm ~= '' then
    check_id('alarm id', alarm)
  end
  if direction ~= 'newer' and direction ~= 'older' then
    refuse('INVALID', 'unknown direction ' .. shown(direction) .. ': use newer or older')
  end
  if cursor ~= '' then
    check_entry(cursor)
  end
  return list_journal(namespace, alarm, direction, cursor, check_integer('how many', args[4], 1, journal_page))
end
