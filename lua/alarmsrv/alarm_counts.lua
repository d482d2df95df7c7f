-- alarm_counts: return how many alarms there are, and how the journal and the notifications stand
-- KEYS   [{site}:]all
-- ARGV   a time ms: alarms that stand since before it are stale
-- reply  name and number in turn: state:level for each state and level, shelved, suppressed and chattering (open ones), standing (active
--   ones, neither shelved nor suppressed), stale (of these), raised_10min (told to people as of the last one), flood_since ms or 0,
--   journal, journal_trimmed, notifications (waiting), notifications_dropped
-- errors INVALID
-- keys   alarmsrv:counts r, alarmsrv:order:standing r, alarmsrv:flood r, alarmsrv:journal r, alarmsrv:notifications r, alarmsrv:counters r
-- flags  no-writes
local function alarm_counts(keys, args)
  local call, names, reply = redis.call, {}, {}
  local namespace = split_key(keys)
  check_count(args, 1, 1)
  local before, standing = check_time('the time', args[1]), namespace .. 'alarmsrv:order:standing'
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
  tell('standing', call('ZCARD', standing))
  tell('stale', call('ZCOUNT', standing, '-inf', '(' .. before))
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
