-- What alarms are treated by: settings, escalation and suppressions. They are
-- compiled once and kept against a version that is the digest of all of them.

local suppression_limit = 100
local alarm_levels = {'Critical', 'Major', 'Minor', 'Warning', 'Info'}
local level_rank = {Critical = 1, Major = 2, Minor = 3, Warning = 4, Info = 5}

-- A site that never configured its alarms gets these.
local default_settings = {flood_limit = 10, chatter_count = 3, chatter_period = 60000, shelve_max = 86400000,
  journal_limit = 100000, notification_limit = 10000}

local function check_level(level)
  if not level_rank[level] then
    refuse('INVALID', 'unknown alarm level ' .. shown(tostring(level)) .. ': use Critical, Major, Minor, Warning or Info')
  end
  return level
end

-- check_alarm_source accepts what an alarm is about: a point, a model, a device.
local function check_alarm_source(source)
  if #source > 200 or not string.find(source, '^%w[%w_.:%-]*$') then
    refuse('INVALID', 'source ' .. shown(source) .. ": use 1 to 200 letters, digits, '_', '-', '.' or ':'")
  end
  return source
end

-- timed_member writes the id of an alarm for alarmsrv:order:time, where those that
-- were raised in the same millisecond are in the order of their ids.
local function timed_member(id)
  return string.format('%015.0f', tonumber(id))
end

-- after returns a time so many milliseconds later, as text.
local function after(now, milliseconds)
  return string.format('%.0f', tonumber(now) + milliseconds)
end

-- pack_suppression writes one as text: everything but the last two parts is
-- without spaces, and the length says where the first of those ends.
local function pack_suppression(s)
  return table.concat({s.scope, s.value, s.since, s.expires, #s.by, s.by .. s.reason}, ' ')
end

local function unpack_suppression(id, text)
  local scope, value, since, expires, length, rest = string.match(text, '^(%a+) (%S*) (%d+) (%d*) (%d+) (.*)$')
  return {id = id, scope = scope, value = value, since = since, expires = expires,
    by = string.sub(rest, 1, tonumber(length)), reason = string.sub(rest, tonumber(length) + 1)}
end

-- stored_suppressions returns them in the order of their ids.
local function stored_suppressions(namespace)
  local fields, list = redis.call('HGETALL', namespace .. 'alarmsrv:suppressions'), {}
  for i = 1, #fields, 2 do
    list[#list + 1] = unpack_suppression(fields[i], fields[i + 1])
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

-- covers reports whether a suppression holds back an alarm.
local function covers(s, alarm, now)
  if s.expires ~= '' and tonumber(now) >= tonumber(s.expires) then
    return false
  elseif s.scope == 'all' then
    return true
  elseif s.scope == 'rule' then
    return alarm.rule == s.value
  end
  return string.sub(alarm.source, 1, #s.value) == s.value
end

local function is_covered(settings, alarm, now)
  for _, s in ipairs(settings.suppressions) do
    if covers(s, alarm, now) then
      return true
    end
  end
  return false
end

-- read_settings compiles what is stored.
local function read_settings(namespace, version)
  local settings = {version = version, steps = {}, suppressions = stored_suppressions(namespace)}
  for name, value in pairs(default_settings) do
    settings[name] = value
  end
  local fields = redis.call('HGETALL', namespace .. 'alarmsrv:settings')
  for i = 1, #fields, 2 do
    if default_settings[fields[i]] then
      settings[fields[i]] = tonumber(fields[i + 1])
    else
      for level, wait, to, notify in string.gmatch(fields[i + 1], '(%a+)\t(%d+)\t(%a*)\t([^\n]*)\n') do
        local steps = settings.steps[level] or {}
        steps[#steps + 1] = {wait = tonumber(wait), to = to, notify = notify}
        settings.steps[level] = steps
      end
    end
  end
  for _, steps in pairs(settings.steps) do
    table.sort(steps, function(a, b) return a.wait < b.wait end)
  end
  return settings
end

-- alarm_keys returns the keys that every alarm needs, by their last parts and, of
-- those of a level, by the level. They are built once for each site.
local key_cache = {}

local function alarm_keys(namespace)
  local keys = key_cache[namespace]
  if not keys then
    keys = {by_level = {}, order_level = {}, active = namespace .. 'alarmsrv:alarms:active', by_source = namespace .. 'alarmsrv:alarms:by_source:',
      order_source = namespace .. 'alarmsrv:order:source:', order_all = namespace .. 'alarmsrv:order:all',
      order_time = namespace .. 'alarmsrv:order:time',
      order_open = namespace .. 'alarmsrv:order:open', order_active = namespace .. 'alarmsrv:order:active',
      order_standing = namespace .. 'alarmsrv:order:standing', alarm = namespace .. 'alarmsrv:alarm:'}
    for _, name in ipairs({'definitions', 'sequence', 'counts', 'due', 'shelved', 'journal', 'new', 'notifications', 'flood', 'version'}) do
      keys[name] = namespace .. 'alarmsrv:' .. name
    end
    for _, level in ipairs(alarm_levels) do
      keys.by_level[level] = namespace .. 'alarmsrv:alarms:by_level:' .. level
      keys.order_level[level] = namespace .. 'alarmsrv:order:level:' .. level
    end
    key_cache[namespace] = keys
  end
  return keys
end

local settings_cache = {}

-- alarm_settings returns what alarms of this site are treated by.
local function alarm_settings(namespace)
  local version = redis.call('GET', alarm_keys(namespace).version) or ''
  local settings = settings_cache[namespace]
  if not settings or settings.version ~= version then
    settings = read_settings(namespace, version)
    settings_cache[namespace] = settings
  end
  return settings
end

-- touch_settings makes what is kept of the settings out of date, and returns them
-- as they are now.
local function touch_settings(namespace)
  local texts = {}
  for _, key in ipairs({'alarmsrv:settings', 'alarmsrv:suppressions'}) do
    local fields, pairs_found = redis.call('HGETALL', namespace .. key), {}
    for i = 1, #fields, 2 do
      pairs_found[#pairs_found + 1] = #fields[i] .. ' ' .. fields[i] .. #fields[i + 1] .. ' ' .. fields[i + 1]
    end
    table.sort(pairs_found)
    texts[#texts + 1] = table.concat(pairs_found)
  end
  redis.call('SET', namespace .. 'alarmsrv:version', redis.sha1hex(table.concat(texts, '|')))
  return alarm_settings(namespace)
end
