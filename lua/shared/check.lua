-- What every function checks before its first write: an error does not roll
-- back, so nothing is written until everything is known to be sound.

-- refuse ends the call. The first word is the code that the caller acts on.
local function refuse(code, text)
  error({refused = code .. ' ' .. text})
end

-- located turns what was raised into the text of an error reply. A fault of the
-- library itself gets the line where it happened, which is that of the nearest
-- caller in Lua and is not known any more once the call has ended.
local function located(raised)
  if type(raised) == 'table' and raised.refused then
    return raised.refused
  end
  local text = type(raised) == 'table' and raised.err or tostring(raised)
  local level = 3
  while level < 6 and not string.find(text, '^user_function:%d+: ') do
    local _, place = pcall(error, '', level)
    text, level = place .. text, level + 1
  end
  return 'ERR ' .. text
end

-- guard turns whatever is raised into an error reply: a refusal comes back as it
-- is, without the line that Redis would add.
local function guard(callback)
  return function(keys, args)
    local sound, reply = xpcall(function() return callback(keys, args) end, located)
    if sound then
      return reply
    end
    return redis.error_reply(reply)
  end
end

-- shown makes a caller's text safe and short enough for an error.
local function shown(text)
  text = string.gsub(string.sub(text, 1, 64), '[%c]', '?')
  return "'" .. text .. "'"
end

-- split_name returns the namespace ('' or '{site}:') and the name in a key. A
-- brace elsewhere is a site badly written, and must not be taken for no site.
local function split_name(key)
  local namespace, name = string.match(key, '^({%w[%w_.%-]*}:)(.*)$')
  if not namespace then
    namespace, name = '', key
  end
  if #namespace > 67 or #name > 256 or name == '' or string.find(name, '[%z\1-\31\127{}]') then
    refuse('INVALID', 'key ' .. shown(key) .. ' is not of the form [{site}:]name')
  end
  return namespace, name
end

-- split_key returns the namespace and the name in KEYS[1]. A caller may name a
-- second key of the same site; it is not looked at.
local function split_key(keys)
  if #keys ~= 1 and #keys ~= 2 then
    refuse('INVALID', 'one key is expected: [{site}:]name')
  end
  local namespace, name = split_name(keys[1])
  if keys[2] and split_name(keys[2]) ~= namespace then
    refuse('INVALID', 'key ' .. shown(keys[2]) .. ' is not of the same site as ' .. shown(keys[1]))
  end
  return namespace, name
end

local function check_count(args, least, most)
  if #args < least or #args > most then
    local wanted = least == most and tostring(least) or (least .. ' to ' .. most)
    refuse('INVALID', wanted .. ' arguments are expected, ' .. #args .. ' were given')
  end
end

local function check_id(what, id)
  if #id > 64 or not string.find(id, '^%w[%w_.%-]*$') then
    refuse('INVALID', what .. ' ' .. shown(id) .. ": use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit")
  end
  return id
end

-- check_number_id accepts channels and points: 1 to 4294967295 without leading
-- zero, because the text becomes part of a key.
local function check_number_id(what, id)
  if #id > 10 or not string.find(id, '^[1-9]%d*$') or tonumber(id) > 4294967295 then
    refuse('INVALID', what .. ' ' .. shown(id) .. ' is not a number of 1 or more')
  end
  return id
end

local function check_type(kind)
  if kind ~= 'T' and kind ~= 'S' and kind ~= 'C' and kind ~= 'A' then
    refuse('INVALID', 'unknown point type ' .. shown(kind) .. ': use T, S, C or A')
  end
  return kind
end

local function check_writable(kind)
  if kind ~= 'C' and kind ~= 'A' then
    refuse('INVALID', 'a point of type ' .. shown(kind) .. ' cannot be written: use C or A')
  end
  return kind
end

-- check_number accepts plain decimals alone: tonumber would take 'nan', 'inf',
-- '0x10' and '1e5' too, and they would be stored as text nobody can compute with.
-- Past 308 digits a decimal may be greater than any number.
local function check_number(what, text)
  if #text > 330 or not string.find(text, '^%-?%d+%.?%d*$') or #text > 308 and math.abs(tonumber(text)) == math.huge then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a decimal number')
  end
  return text
end

-- check_time refuses leading zeros, because the text becomes part of JSON.
local function check_time(what, text)
  if #text > 15 or not string.find(text, '^[1-9]%d*$') and text ~= '0' then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a time in milliseconds')
  end
  return text
end

local function check_integer(what, text, least, most)
  local number = #text <= 10 and (string.find(text, '^[1-9]%d*$') or text == '0') and tonumber(text)
  if not number or number < least or number > most then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a whole number from ' .. least .. ' to ' .. most)
  end
  return number
end

local function check_text(what, text, least, most)
  if #text < least or #text > most then
    refuse('INVALID', what .. ' has ' .. #text .. ' bytes: ' .. least .. ' to ' .. most .. ' are allowed')
  end
  if string.find(text, '[%z\1-\8\11-\31\127]') or string.find(text, '\194[\128-\159]') then
    refuse('INVALID', what .. ' holds a control character')
  end
  return text
end

-- check_line is check_text for what is one line.
local function check_line(what, text, least, most)
  if string.find(text, '[\t\n]') then
    refuse('INVALID', what .. ' is one line without tabs')
  end
  return check_text(what, text, least, most)
end

-- check_json refuses what the decoder takes and JSON does not have: control
-- characters in texts, numbers such as nan, 0x10 and 1e999, and anything after a
-- zero byte. A document that is stored must be readable to everybody. It returns the document
-- without escaped characters, in which a quote always ends or begins a text.
local function check_json(what, text)
  local plain = string.gsub(text, '\\.', '')
  local bare = string.gsub(plain, '"[^"%c]*"', '')
  if string.find(bare, '"') then
    refuse('INVALID', what .. ' holds a control character')
  end
  for word in string.gmatch(bare, '[^%s%[%]{}:,]+') do
    local whole, rest = string.match(word, '^%-?(%d+)(.*)$')
    rest = rest and string.gsub(string.gsub(rest, '^%.%d+', ''), '^[eE][+-]?%d+', '')
    local sound = rest == '' and (whole == '0' or string.sub(whole, 1, 1) ~= '0') and math.abs(tonumber(word)) < math.huge
    if not sound and word ~= 'true' and word ~= 'false' and word ~= 'null' then
      refuse('INVALID', what .. ' is not JSON at ' .. shown(word))
    end
  end
  return plain
end

-- drop_nulls removes fields that are null, which say the same as absent ones.
local function drop_nulls(object)
  for name, value in pairs(object) do
    if type(value) == 'table' then
      drop_nulls(value)
    elseif value == cjson.null and type(name) == 'string' then
      object[name] = nil
    end
  end
end

local function decode_object(what, text)
  if #text > 1048576 then
    refuse('INVALID', what .. ' is larger than 1 MiB')
  end
  local sound, object = pcall(cjson.decode, text)
  if not sound or type(object) ~= 'table' then
    refuse('INVALID', what .. ' is not a JSON object')
  end
  drop_nulls(object)
  return object
end

-- check_types refuses a field, where it is given, that is not of the type that
-- follows its name.
local function check_types(path, object, types)
  for i = 1, #types, 2 do
    local field = object[types[i]]
    if field ~= nil and type(field) ~= types[i + 1] then
      refuse('INVALID', path .. types[i] .. ' must be a ' .. types[i + 1])
    end
  end
end

-- check_entry accepts the id of an entry of a stream.
local function check_entry(text)
  local time, sequence = string.match(text, '^(%d+)%-(%d+)$')
  if not time or #time > 19 or #sequence > 19 then
    refuse('INVALID', shown(text) .. ' is not a stream entry')
  end
  return text
end

-- check_source takes "comsrv:{channel}:{type}:{point}" apart.
local function check_source(what, text)
  local channel, kind, point
  if type(text) == 'string' then
    channel, kind, point = string.match(text, '^comsrv:([1-9]%d*):([TSCA]):([1-9]%d*)$')
  end
  if not channel or #channel > 10 or #point > 10 or tonumber(channel) > 4294967295 or tonumber(point) > 4294967295 then
    refuse('INVALID', what .. ' ' .. shown(tostring(text)) .. ' is not of the form comsrv:{channel}:{T|S|C|A}:{point}')
  end
  return channel, kind, point
end

-- page returns up to count ids of a lexical index, after one id.
local function page(index, after, count)
  if after ~= '' then
    check_id('the id before the page,', after)
  end
  local from = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', index, from, '+', 'LIMIT', 0, count)
end

-- hmget reads many fields of a hash: unpack fails past some 8000 of them.
local function hmget(key, fields)
  local count = #fields
  if count <= 1000 then
    return redis.call('HMGET', key, unpack(fields))
  end
  local texts = {}
  for first = 1, count, 1000 do
    for i, text in ipairs(redis.call('HMGET', key, unpack(fields, first, math.min(first + 999, count)))) do
      texts[first + i - 1] = text
    end
  end
  return texts
end
