-- Lists of alarms, newest first: the index with the fewest alarms that holds all
-- of those asked for is walked, and what it does not tell is looked at.

local examined_limit = 1000         -- alarms looked at in one call

local open_states = {open = true, active = true, active_unacknowledged = true, active_acknowledged = true, cleared_unacknowledged = true}

-- check_filter returns a filter, of which empty fields ask for everything.
local function check_filter(state, level, source, rule, from, to, shelved, suppressed)
  if state ~= '' and state ~= 'closed' and not open_states[state] then
    refuse('INVALID', 'unknown state ' .. shown(state)
      .. ': use open, active, active_unacknowledged, active_acknowledged, cleared_unacknowledged or closed')
  end
  if level ~= '' then
    check_level(level)
  end
  if source ~= '' then
    check_alarm_source(source)
  end
  if rule ~= '' then
    check_id('rule', rule)
  end
  for what, time in pairs({from = from, to = to}) do
    if time ~= '' then
      check_time(what, time)
    end
  end
  for what, word in pairs({shelved = shelved, suppressed = suppressed}) do
    if word ~= '' and word ~= '0' and word ~= '1' then
      refuse('INVALID', what .. ' ' .. shown(word) .. " is none of '', 0 and 1")
    end
  end
  return {state = state, level = level, source = source, rule = rule, from = from, to = to, shelved = shelved, suppressed = suppressed}
end

-- span_of returns where in alarmsrv:order:time, counted from the newest, a span of
-- time begins, and where it has ended.
local function span_of(index, from, to)
  local begins = to ~= '' and redis.call('ZCOUNT', index, to, '+inf') or 0
  return begins, math.max(begins, redis.call('ZCOUNT', index, from ~= '' and from or '-inf', '+inf'))
end

-- choose_index returns the index to walk and takes from the filter what the index
-- fulfils by itself. A list that began in the order of time goes on in it, and one
-- that began in the order of ids in that one.
local function choose_index(prefix, filter, cursor)
  local best, smallest
  local function offer(name, fulfils, size)
    size = size or redis.call('ZCARD', prefix .. name)
    if not smallest or size < smallest then
      best, smallest = {name = name, fulfils = fulfils}, size
    end
  end
  local timed, by_time = filter.from ~= '' or filter.to ~= '', string.find(cursor, '-', 1, true)
  if by_time and not timed then
    refuse('INVALID', 'the cursor ' .. shown(cursor) .. ' is one of a list with a span of time, which this one has not')
  elseif by_time or timed and cursor == '' then
    local begins, ended = span_of(prefix .. 'time', filter.from, filter.to)
    offer('time', {from = filter.from, to = filter.to}, by_time and -1 or ended - begins)
  end
  if filter.source ~= '' then
    offer('source:' .. filter.source, {source = filter.source})
  end
  if filter.suppressed == '1' then
    offer('suppressed', {suppressed = '1', state = 'open'})
  end
  if filter.state == 'active' or filter.state == 'active_unacknowledged' or filter.state == 'active_acknowledged' then
    offer('active', {state = 'active'})
  end
  if open_states[filter.state] or filter.shelved == '1' then
    if filter.level ~= '' then
      offer('level:' .. filter.level, {level = filter.level, state = 'open'})
    end
    offer('open', {state = 'open'})
  else
    offer('all', {})
  end
  for name, value in pairs(best.fulfils) do
    if filter[name] == value then
      filter[name] = ''
    end
  end
  return prefix .. best.name
end

local function fits_state(wanted, state)
  return wanted == state or wanted == 'open' and state ~= 'closed' or wanted == 'active' and is_active[state]
end

-- What to look at for each part of a filter, and how the two are compared.
local filter_parts = {
  state = {'state', fits_state},
  level = {'level', function(wanted, level) return wanted == level end},
  source = {'source', function(wanted, source) return wanted == source end},
  rule = {'rule', function(wanted, rule) return wanted == rule end},
  from = {'raised_at', function(from, at) return tonumber(at) >= tonumber(from) end},
  to = {'raised_at', function(to, at) return tonumber(at) < tonumber(to) end},
  shelved = {'shelved_until', function(wanted, expires) return (wanted == '1') == (expires and true or false) end},
  suppressed = {'suppressed', function(wanted, mark) return (wanted == '1') == (mark and true or false) end},
}

-- asks_for returns what is left of a filter to look at: fields, and tests of
-- their texts in the same order.
local function asks_for(filter)
  local fields, tests = {}, {}
  for name, wanted in pairs(filter) do
    if wanted ~= '' then
      local field, compare = unpack(filter_parts[name])
      fields[#fields + 1] = field
      tests[#tests + 1] = function(text)
        return compare(wanted, text)
      end
    end
  end
  return fields, tests
end

local function fits(namespace, id, fields, tests)
  local texts = redis.call('HMGET', namespace .. 'alarmsrv:alarm:' .. id, unpack(fields))
  for i = 1, #tests do
    if not tests[i](texts[i]) then
      return false
    end
  end
  return true
end

-- first_after returns how many alarms of alarmsrv:order:time, counted from the
-- newest, a list has behind it at a cursor "time-id", also of an alarm that is gone.
local function first_after(index, cursor)
  local time, id = string.match(cursor, '^(%d+)-(%d+)$')
  local low, high, member = redis.call('ZCOUNT', index, '(' .. time, '+inf'), redis.call('ZCOUNT', index, time, '+inf'), timed_member(id)
  while low < high do -- among those of one millisecond
    local middle = math.floor((low + high) / 2)
    if redis.call('ZREVRANGE', index, middle, middle)[1] < member then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

-- walk returns up to most ids after a cursor, newest first, and a function that
-- returns the cursor after one of them.
local function walk(index, by_time, from, to, cursor, most)
  if not by_time then
    local first = cursor == '' and '+inf' or '(' .. cursor
    return redis.call('ZREVRANGEBYSCORE', index, first, '-inf', 'LIMIT', 0, most), function(id) return id end
  end
  local begins, ended = span_of(index, from, to)
  if cursor ~= '' then
    begins = math.max(begins, first_after(index, cursor))
  end
  local ids = begins < ended and redis.call('ZREVRANGE', index, begins, math.min(begins + most, ended) - 1) or {}
  for i, member in ipairs(ids) do
    ids[i] = string.match(member, '^0*(%d+)$')
  end
  return ids, function(id)
    return string.format('%.0f-%s', redis.call('ZSCORE', index, timed_member(id)), id)
  end
end

-- list_alarms returns where the next page begins ('' at the end) and then the
-- texts of up to count alarms older than a cursor.
local function list_alarms(namespace, cursor, count, filter)
  local prefix, span_from, span_to = namespace .. 'alarmsrv:order:', filter.from, filter.to
  local index = choose_index(prefix, filter, cursor)
  local fields, tests = asks_for(filter)
  local asks = #tests > 0
  local most = asks and examined_limit or count
  local ids, cursor_after = walk(index, index == prefix .. 'time', span_from, span_to, cursor, most + 1)
  local reply, found, looked = {''}, 0, math.min(#ids, most)
  for i = 1, looked do
    if not asks or fits(namespace, ids[i], fields, tests) then
      append_alarm(reply, namespace, ids[i])
      found = found + 1
      if found == count then
        looked = i
        break
      end
    end
  end
  if looked < #ids then
    reply[1] = cursor_after(ids[looked])
  end
  return reply
end

-- check_cursor accepts the id of an alarm, "time-id" in a list with a span of time,
-- or '' for the newest.
local function check_cursor(cursor)
  local id = string.match(cursor, '^%d+-(%d+)$') or cursor
  if cursor ~= '' and (#cursor > 31 or #id > 15 or not string.find(id, '^[1-9]%d*$')) then
    refuse('INVALID', 'the cursor ' .. shown(cursor) .. " is neither '' nor where the page before ended")
  end
  return cursor
end
