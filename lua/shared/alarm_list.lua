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

-- choose_index returns the index to walk and takes from the filter what the index
-- fulfils by itself.
local function choose_index(prefix, filter)
  local best, smallest
  local function offer(name, fulfils)
    local size = redis.call('ZCARD', prefix .. name)
    if not smallest or size < smallest then
      best, smallest = {name = name, fulfils = fulfils}, size
    end
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

-- list_alarms returns where the next page begins ('' at the end) and then the
-- texts of up to count alarms older than a cursor.
local function list_alarms(namespace, cursor, count, filter)
  local index = choose_index(namespace .. 'alarmsrv:order:', filter)
  local fields, tests = asks_for(filter)
  local asks = #tests > 0
  local most = asks and examined_limit or count
  local from = cursor == '' and '+inf' or '(' .. cursor
  local ids = redis.call('ZREVRANGEBYSCORE', index, from, '-inf', 'LIMIT', 0, most + 1)
  local reply, found, looked = {''}, 0, math.min(#ids, most)
  for i = 1, looked do
    if not asks or fits(namespace, ids[i], fields, tests) then
      for _, text in ipairs(alarm_row(namespace, ids[i])) do
        reply[#reply + 1] = text
      end
      found = found + 1
      if found == count then
        looked = i
        break
      end
    end
  end
  if looked < #ids then
    reply[1] = ids[looked]
  end
  return reply
end

-- check_cursor accepts the id of an alarm, or '' for the newest.
local function check_cursor(cursor)
  if cursor ~= '' and (#cursor > 15 or not string.find(cursor, '^[1-9]%d*$')) then
    refuse('INVALID', 'the cursor ' .. shown(cursor) .. " is neither '' nor the number of an alarm")
  end
  return cursor
end
