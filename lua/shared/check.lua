-- What every function checks before its first write: an error does not roll
-- back, so nothing is written until everything is known to be sound.

-- refuse ends the call. The first word is the code that the caller acts on.
local function refuse(code, text)
  error({refused = code .. ' ' .. text})
end

-- guard turns a refusal into an error reply without the line that Redis adds to
-- an error of the library itself.
local function guard(callback)
  return function(keys, args)
    local sound, reply = pcall(callback, keys, args)
    if sound then
      return reply
    elseif type(reply) == 'table' and reply.refused then
      return redis.error_reply(reply.refused)
    end
    error(reply)
  end
end

-- shown makes a caller's text safe and short enough for an error.
local function shown(text)
  text = string.gsub(string.sub(text, 1, 64), '[%c]', '?')
  return "'" .. text .. "'"
end

-- split_key returns the namespace ('' or '{site}:') and the name in KEYS[1].
local function split_key(keys)
  if #keys ~= 1 then
    refuse('INVALID', 'one key is expected: [{site}:]name')
  end
  local namespace, name = string.match(keys[1], '^({%w[%w_.%-]*}:)(.*)$')
  if namespace then
    return namespace, name
  end
  return '', keys[1]
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
local function check_number(what, text)
  if #text > 330 or not string.find(text, '^%-?%d+%.?%d*$') then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a decimal number')
  end
  return text
end

local function check_time(what, text)
  if #text > 15 or not string.find(text, '^%d+$') then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a time in milliseconds')
  end
  return text
end

local function check_integer(what, text, least, most)
  local number = #text <= 10 and string.find(text, '^%d+$') and tonumber(text)
  if not number or number < least or number > most then
    refuse('INVALID', what .. ' ' .. shown(text) .. ' is not a whole number from ' .. least .. ' to ' .. most)
  end
  return number
end

local function check_text(what, text, least, most)
  if #text < least or #text > most then
    refuse('INVALID', what .. ' has ' .. #text .. ' bytes: ' .. least .. ' to ' .. most .. ' are allowed')
  end
  if string.find(text, '[%z\1-\8\11-\31\127]') then
    refuse('INVALID', what .. ' holds a control character')
  end
  return text
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

-- check_source takes "comsrv:{channel}:{type}:{point}" apart.
local function check_source(what, text)
  local channel, kind, point
  if type(text) == 'string' then
    channel, kind, point = string.match(text, '^comsrv:([1-9]%d*):([TSCA]):([1-9]%d*)$')
  end
  if not channel or #channel > 10 or #point > 10 then
    refuse('INVALID', what .. ' ' .. shown(tostring(text)) .. ' is not of the form comsrv:{channel}:{T|S|C|A}:{point}')
  end
  return channel, kind, point
end

-- page returns up to count ids of a lexical index, after one id.
local function page(index, after, count)
  local from = after == '' and '-' or '(' .. after
  return redis.call('ZRANGEBYLEX', index, from, '+', 'LIMIT', 0, count)
end
