-- Models: names given to the points of a channel.

-- flatten_mapping checks names and points and returns 'name type point' for
-- each, in the order of the names. A bare number has the fallback type.
local function flatten_mapping(what, mapping, fallback)
  if mapping == nil then
    return {}
  end
  if type(mapping) ~= 'table' then
    refuse('INVALID', what .. ' must map names to points')
  end
  local names, flat = {}, {}
  for name in pairs(mapping) do
    names[#names + 1] = check_id(what .. ' name', tostring(name))
  end
  if #names > 1000 then
    refuse('INVALID', what .. ' has more than 1000 names')
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local text = mapping[name]
    if type(text) == 'number' then
      text = string.format('%.0f', text)
    end
    local kind, point = string.match(tostring(text), '^([TSCA]):([1-9]%d*)$')
    if not kind then
      kind, point = fallback, string.match(tostring(text), '^([1-9]%d*)$')
    end
    if not point then
      refuse('INVALID', what .. '.' .. name .. ' ' .. shown(tostring(text)) .. " is not a point: use a number of 1 or more, or 'S:3'")
    end
    check_number_id(what .. '.' .. name, point)
    if fallback == 'C' then
      check_writable(kind)
    end
    flat[#flat + 1] = name .. ' ' .. kind .. ' ' .. point
  end
  return flat
end

-- unmap_model takes a model out of the reverse map.
local function unmap_model(namespace, id)
  local call = redis.call
  local channel, data, action = unpack(call('HMGET', namespace .. 'modsrv:model:' .. id, 'channel', 'data', 'action'))
  if not channel then
    return
  end
  for name, kind, point in string.gmatch(data .. '\n' .. action, '(%S+) (%u) (%d+)') do
    local key = namespace .. 'modsrv:reverse:' .. channel .. ':' .. kind
    local kept = {}
    for entry in string.gmatch(call('HGET', key, point) or '', '%S+') do
      if entry ~= id .. ':' .. name then
        kept[#kept + 1] = entry
      end
    end
    if #kept == 0 then
      call('HDEL', key, point)
    else
      call('HSET', key, point, table.concat(kept, ' '))
    end
  end
end

-- map_model enters a model into the reverse map.
local function map_model(namespace, id, channel, flat)
  for _, entry in ipairs(flat) do
    local name, kind, point = string.match(entry, '^(%S+) (%u) (%d+)$')
    local key = namespace .. 'modsrv:reverse:' .. channel .. ':' .. kind
    local others = redis.call('HGET', key, point)
    redis.call('HSET', key, point, (others and others .. ' ' or '') .. id .. ':' .. name)
  end
end

-- check_field checks one named value or action of a template.
local function check_field(what, field)
  if type(field) ~= 'table' or type(field.name) ~= 'string' then
    refuse('INVALID', what .. '.name must be a text')
  end
  check_id(what .. '.name', field.name)
  for _, bound in ipairs({'min', 'max'}) do
    local value = field[bound]
    if value ~= nil and (type(value) ~= 'number' or value ~= value or value == math.huge or value == -math.huge) then
      refuse('INVALID', what .. '.' .. bound .. ' must be a finite number')
    end
  end
  if field.min and field.max and field.min > field.max then
    refuse('INVALID', what .. '.min is above max')
  end
end

-- check_names refuses a name that the template does not have.
local function check_names(what, flat, fields)
  local known = {}
  for _, field in ipairs(type(fields) == 'table' and fields or {}) do
    known[field.name] = true
  end
  for _, entry in ipairs(flat) do
    local name = string.match(entry, '^%S+')
    if not known[name] then
      refuse('INVALID', what .. '.' .. name .. ' is not in the template')
    end
  end
end
