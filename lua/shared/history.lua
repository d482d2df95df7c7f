-- The feed of history: one stream entry a batch, one line of line protocol an
-- entry, one field a point.

local history_limit = 200000        -- entries that may wait

-- check_name refuses what line protocol has no escape for: a backslash, which
-- before a comma or a space would swallow theirs, a tab, and the end of a line.
local function check_name(what, name)
  if string.find(name, '[\\\t\n]') then
    refuse('INVALID', what .. ' ' .. shown(name) .. ' holds a backslash, a tab or a newline')
  end
  return check_text(what, name, 1, 100)
end

local function escape_name(name)
  return (string.gsub(name, '[,= ]', '\\%0'))
end

local function escape_measurement(name)
  return (string.gsub(name, '[, ]', '\\%0'))
end

-- feed_history queues the numbers of a batch: points and numbers in turn, with
-- spaces between. A full stream refuses the entry and counts it.
local function feed_history(namespace, source, time, numbers)
  local call = redis.call
  local mapping = call('HGET', namespace .. 'hissrv:sources', source)
  if not mapping then
    return
  end
  local stream = namespace .. 'hissrv:stream'
  if call('XLEN', stream) >= history_limit then
    call('HINCRBY', namespace .. 'hissrv:counters', 'dropped', 1)
    return
  end
  call('XADD', stream, '*', 'mapping', mapping, 'time', time, 'points', numbers)
end

-- history_line returns a line of line protocol, nil when the mapping is gone.
local function history_line(namespace, mapping, time, points, numbers)
  local prefix = redis.call('HGET', namespace .. 'hissrv:mapping:' .. mapping, 'prefix')
  if not prefix or #points == 0 then
    return nil
  end
  local names = redis.call('HMGET', namespace .. 'hissrv:mapping:' .. mapping .. ':fields', unpack(points))
  local fields = {}
  for i = 1, #points do
    fields[i] = (names[i] or ('p' .. points[i])) .. '=' .. numbers[i]
  end
  return prefix .. ' ' .. table.concat(fields, ',') .. ' ' .. time
end

-- bury_history moves a stream entry to the dead letters; one that is gone already
-- leaves no second letter.
local function bury_history(namespace, entry, line, reason, now)
  local call = redis.call
  local stream, dead = namespace .. 'hissrv:stream', namespace .. 'hissrv:dead'
  call('XACK', stream, 'hissrv', entry)
  if call('XDEL', stream, entry) == 0 then
    return
  end
  if call('XLEN', dead) >= 10000 then
    call('HINCRBY', namespace .. 'hissrv:counters', 'dead_dropped', 1)
  end
  call('XADD', dead, 'MAXLEN', 10000, '*', 'line', line, 'reason', reason, 'time', now)
end
