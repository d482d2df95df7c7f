-- Telling of alarms: the journal, which has every transition once; the screens;
-- and the notifications, which in a flood become summaries.

local summary_period = 60000        -- between two summaries of a flood, ms
local summary_fields = 1000         -- sources and levels told apart in a summary
local notices_given_up = 100        -- of a full stream, for one that comes

-- alarm_moved writes the journal entry of a transition and tells the screens,
-- where it is one of an alarm.
local function alarm_moved(namespace, settings, alarm, event, from, to, now, by, text)
  local call, encode, keys = redis.call, cjson.encode, alarm_keys(namespace)
  call('XADD', keys.journal, 'MAXLEN', '~', settings.journal_limit, '*',
    'event', event, 'alarm', alarm.id, 'from', from, 'to', to, 'time', now, 'by', by, 'level', alarm.level, 'source', alarm.source,
    'rule', alarm.rule, 'title', alarm.title, 'occurrence', alarm.occurrences, 'value', alarm.value, 'text', text)
  if alarm.id == '' then
    return
  end
  call('PUBLISH', keys.new, '{"id":"' .. alarm.id .. '","from":"' .. from .. '","state":"' .. to
    .. '","level":"' .. alarm.level .. '","source":"' .. alarm.source .. '","title":' .. encode(alarm.title)
    .. ',"by":' .. encode(by) .. ',"time":' .. now .. '}')
end

-- site_moved is alarm_moved for what is not about one alarm.
local function site_moved(namespace, settings, event, rule, source, now, by, text)
  alarm_moved(namespace, settings, {id = '', level = '', source = source, rule = rule, title = '', occurrences = '', value = ''},
    event, '', '', now, by, text)
end

-- is_later compares the ids of two entries of a stream.
local function is_later(id, other)
  local time, number = string.match(id, '^(%d+)-(%d+)$')
  local other_time, other_number = string.match(other, '^(%d+)-(%d+)$')
  time, other_time = tonumber(time), tonumber(other_time)
  return time > other_time or time == other_time and tonumber(number) > tonumber(other_number)
end

-- give_up removes the oldest entries of a stream of notifications, and counts for
-- each consumer group, which is one target of netsrv, those that it never got.
local function give_up(namespace, stream, count)
  local call = redis.call
  local oldest = call('XRANGE', stream, '-', '+', 'COUNT', count)
  for _, group in ipairs(call('XINFO', 'GROUPS', stream)) do
    local about, lost = {}, 0
    for i = 1, #group, 2 do
      about[group[i]] = group[i + 1]
    end
    for _, entry in ipairs(oldest) do
      lost = lost + (is_later(entry[1], about['last-delivered-id']) and 1 or 0)
    end
    if lost > 0 then
      call('HINCRBY', namespace .. 'netsrv:lost', about.name, lost)
    end
  end
  call('XTRIM', stream, 'MAXLEN', call('XLEN', stream) - count)
end

-- queue_notice adds to a stream from which netsrv takes what it tells people. When
-- nobody takes them the oldest go, which counters:field counts.
local function queue_notice(namespace, stream, limit, counters, field, ...)
  local over = redis.call('XLEN', stream) - limit + 1
  if over > 0 then
    over = math.min(over, notices_given_up)
    give_up(namespace, stream, over)
    redis.call('HINCRBY', counters, field, over)
  end
  redis.call('XADD', stream, '*', ...)
end

-- notify queues one notification about alarms.
local function notify(namespace, settings, ...)
  queue_notice(namespace, alarm_keys(namespace).notifications, settings.notification_limit, namespace .. 'alarmsrv:counters', 'notifications_dropped', ...)
end

local function notify_alarm(namespace, settings, kind, alarm, now, text)
  notify(namespace, settings, 'kind', kind, 'alarm', alarm.id, 'level', alarm.level, 'source', alarm.source, 'rule', alarm.rule,
    'title', alarm.title, 'description', alarm.description, 'occurrence', alarm.occurrences, 'value', alarm.value, 'time', now, 'text', text)
end

-- turn_minutes makes room for a new minute in the ten minutes of a flood record:
-- slots s0 to s9 and their total, which it returns.
local function turn_minutes(key, minute, known, total)
  local cleared = {}
  for old = math.max(known + 1, minute - 9), minute do
    cleared[#cleared + 1] = 's' .. old % 10
  end
  for _, text in ipairs(redis.call('HMGET', key, unpack(cleared))) do
    total = total - (tonumber(text) or 0)
  end
  redis.call('HDEL', key, unpack(cleared))
  return total
end

-- read_minutes returns how many alarms were told in the ten minutes until now,
-- since when that is a flood, if it is, the newest minute, its slot and how many
-- were told in it. Times that come late count for the newest minute.
local function read_minutes(key, now)
  local minute = math.floor(tonumber(now) / 60000)
  local slot = 's' .. minute % 10
  local record = redis.call('HMGET', key, 'minute', 'total', 'since', slot)
  local known, total, count = tonumber(record[1]) or minute, tonumber(record[2]) or 0, tonumber(record[4]) or 0
  if minute > known then
    total, count = turn_minutes(key, minute, known, total), 0
    redis.call('HSET', key, 'minute', minute, 'total', total)
  elseif minute < known then
    minute, slot = known, 's' .. known % 10
    count = tonumber(redis.call('HGET', key, slot)) or 0
  end
  return total, record[3], minute, slot, count
end

-- count_told counts one more alarm or escalation that people are told of, and
-- returns whether there are so many that they are told in summaries.
local function count_told(namespace, settings, now)
  local call, key = redis.call, alarm_keys(namespace).flood
  local total, since, minute, slot, count = read_minutes(key, now)
  call('HSET', key, 'minute', minute, 'total', total + 1, slot, count + 1)
  if not since and total + 1 > settings.flood_limit then
    call('HSET', key, 'since', now)
    call('ZADD', namespace .. 'alarmsrv:due', now, 'flood:')
    return true
  end
  return since
end

-- announce tells people of an alarm: at once, or in a flood by the next summary.
local function announce(namespace, settings, alarm, now, text)
  if not count_told(namespace, settings, now) then
    notify_alarm(namespace, settings, 'alarm', alarm, now, text)
    return
  end
  local call, key, field = redis.call, namespace .. 'alarmsrv:summary', alarm.level .. ' ' .. alarm.source
  if call('HINCRBY', key, field, 1) == 1 and call('HLEN', key) > summary_fields then
    call('HDEL', key, field)
    call('HINCRBY', key, alarm.level .. ' ', 1)
  end
end

-- announce_escalation tells whom it concerns that nobody has acknowledged an
-- alarm: at once, or in a flood by the next summary.
local function announce_escalation(namespace, settings, alarm, now, whom)
  if not count_told(namespace, settings, now) then
    notify_alarm(namespace, settings, 'escalation', alarm, now, whom)
    return
  end
  redis.call('HINCRBY', namespace .. 'alarmsrv:summary', 'escalated ' .. alarm.level .. ' ' .. whom, 1)
end

-- by_severity writes numbers by level, most severe first: "Critical 3 Minor 9".
local function by_severity(levels)
  local texts = {}
  for _, level in ipairs(alarm_levels) do
    if levels[level] then
      texts[#texts + 1] = level .. ' ' .. levels[level]
    end
  end
  return table.concat(texts, ' ')
end

-- read_summary returns how many alarms wait to be told, by level, the five
-- sources with the most, "source count source count …", and by whom it concerns
-- how many have escalated to each level.
local function read_summary(namespace)
  local fields, count, levels, sources = redis.call('HGETALL', namespace .. 'alarmsrv:summary'), 0, {}, {}
  local by_source, escalated = {}, {}
  for i = 1, #fields, 2 do
    local level, source = string.match(fields[i], '^(%a+) (.*)$')
    local number = tonumber(fields[i + 1])
    if level == 'escalated' then
      local to, whom = string.match(source, '^(%a+) (.*)$')
      escalated[whom] = escalated[whom] or {}
      escalated[whom][to] = number
    else
      count = count + number
      levels[level] = (levels[level] or 0) + number
      by_source[source] = (by_source[source] or 0) + number
    end
  end
  by_source[''] = nil
  for source, number in pairs(by_source) do
    sources[#sources + 1] = {source = source, number = number}
  end
  table.sort(sources, function(a, b)
    return a.number > b.number or a.number == b.number and a.source < b.source
  end)
  local source_texts = {}
  for i = 1, math.min(5, #sources) do
    source_texts[i] = sources[i].source .. ' ' .. sources[i].number
  end
  return count, by_severity(levels), table.concat(source_texts, ' '), escalated
end

-- summarize_escalations tells everybody who is named in a step of escalation what
-- has escalated to them.
local function summarize_escalations(namespace, settings, escalated, since, now)
  local names = {}
  for whom in pairs(escalated) do
    names[#names + 1] = whom
  end
  table.sort(names)
  for _, whom in ipairs(names) do
    notify(namespace, settings, 'kind', 'summary', 'to', whom, 'escalated', by_severity(escalated[whom]), 'since', since, 'time', now, 'text', 'flood')
  end
end

-- send_summary tells what has gathered in a flood, and whether it is over: when
-- fewer than half of the limit came within ten minutes.
local function send_summary(namespace, settings, now)
  local call, key = redis.call, namespace .. 'alarmsrv:flood'
  local standing, since = read_minutes(key, now)
  if not since then
    return
  end
  local over = standing * 2 < settings.flood_limit
  local count, levels, sources, escalated = read_summary(namespace)
  local nobody = by_severity(escalated[''] or {}) -- in particular
  escalated[''] = nil
  if count > 0 or nobody ~= '' or over then
    notify(namespace, settings, 'kind', 'summary', 'count', count, 'levels', levels, 'sources', sources, 'escalated', nobody, 'since', since,
      'time', now, 'text', over and 'over' or 'flood')
  end
  summarize_escalations(namespace, settings, escalated, since, now)
  call('DEL', namespace .. 'alarmsrv:summary')
  if over then
    call('HDEL', key, 'since')
  else
    call('ZADD', namespace .. 'alarmsrv:due', after(now, summary_period), 'flood:')
  end
end
