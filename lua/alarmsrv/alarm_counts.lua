-- alarm_counts: return how many alarms there are, and how the journal and the notifications stand
-- KEYS   [{site}:]all
-- ARGV   a time ms before which active alarms are old, or 0
-- reply  name and number in turn: state:level for each state and level, shelved, suppressed and chattering (open ones), old (active ones),
--   raised_10min (told to people as of the last one), flood_since ms or 0, journal, journal_trimmed, notifications (waiting),
--   notifications_dropped
-- errors INVALID
-- keys   alarmsrv:counts r, alarmsrv:order:active r, alarmsrv:alarm:{id} r, alarmsrv:flood r, alarmsrv:journal r, alarmsrv:notifications r, alarmsrv:counters r
-- flags  no-writes

-- count_older counts the active alarms that were raised before a time. Ids grow
-- with the time of raising, so that the last of them is found by halves.
local function count_older(namespace, before)
  local call, index = redis.call, namespace .. 'alarmsrv:order:active'
  local low, high = 0, before == '0' and 0 or call('ZCARD', index)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = call('ZRANGE', index, middle, middle)[1]
    if tonumber(call('HGET', namespace .. 'alarmsrv:alarm:' .. id, 'raised_at')) < tonumber(before) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function alarm_counts(keys, args)
  local call, names, reply = redis.call, {}, {}
  local namespace = split_key(keys)
  check_count(args, 1, 1)
  local old = count_older(namespace, check_time('old', args[1]))
  for _, state in ipairs({'active_unacknowledged', 'active_acknowledged', 'cleared_unacknowledged', 'closed'}) do
    for _, level in ipairs(alarm_levels) do
      names[#names + 1] = state .. ':' .. level
    end
  end
  for _, name in ipairs({'shelved', 'suppressed', 'chattering'}) do
    names[#names + 1] = name
  end
  local function tell(name, number)
    reply[#reply + 1], reply[#reply + 2] = name, tostring(number or 0)
  end
  local numbers = call('HMGET', namespace .. 'alarmsrv:counts', unpack(names))
  for i, name in ipairs(names) do
    tell(name, numbers[i])
  end
  tell('old', old)
  local total, since = unpack(call('HMGET', namespace .. 'alarmsrv:flood', 'total', 'since'))
  tell('raised_10min', total)
  tell('flood_since', since)
  local journal, length, added = namespace .. 'alarmsrv:journal', 0, 0
  if call('EXISTS', journal) == 1 then
    local about = call('XINFO', 'STREAM', journal)
    for i = 1, #about, 2 do
      length = about[i] == 'length' and about[i + 1] or length
      added = about[i] == 'entries-added' and about[i + 1] or added
    end
  end
  tell('journal', length)
  tell('journal_trimmed', added - length)
  tell('notifications', call('XLEN', namespace .. 'alarmsrv:notifications'))
  tell('notifications_dropped', call('HGET', namespace .. 'alarmsrv:counters', 'notifications_dropped'))
  return reply
end
