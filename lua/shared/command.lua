-- Commands: queued here, executed by comsrv at most once.

local command_limit = 1000          -- waiting commands of one channel
local command_memory = 3600000      -- how long an id is remembered, ms

-- check_command_id accepts an id of a command that may have come from a rule,
-- which puts its own id and a time into it.
local function check_command_id(id)
  if #id > 100 or not string.find(id, '^%w[%w_.%-]*$') then
    refuse('INVALID', 'command id ' .. shown(id) .. " is not of 1 to 100 letters, digits, '_', '-' and '.'")
  end
end

-- queue_command expects checked arguments. It returns 'queued', or the state of
-- the command when the id is known already: the same id is the same command, and
-- may not ask for something else.
local function queue_command(namespace, channel, command)
  local call = redis.call
  local key = namespace .. 'comsrv:' .. channel .. ':command:' .. command.id
  local state, kind, point, value = unpack(call('HMGET', key, 'state', 'type', 'point', 'value'))
  if state then
    if kind ~= command.kind or point ~= command.point or tonumber(value) ~= tonumber(command.value) then
      refuse('CONFLICT', 'command id ' .. shown(command.id) .. ' was used for ' .. kind .. ':' .. point .. ' = ' .. value .. ': take a new one')
    end
    return state
  end
  local stream = namespace .. 'comsrv:' .. channel .. ':commands'
  if call('XLEN', stream) >= command_limit then
    refuse('FULL', 'channel ' .. channel .. ' has ' .. command_limit .. ' commands waiting: is comsrv running?')
  end
  local fields = {'type', command.kind, 'point', command.point, 'value', command.value, 'issued', command.issued,
    'deadline', command.deadline, 'origin', command.origin}
  if command.hold then
    fields[#fields + 1], fields[#fields + 2] = 'hold', command.hold
  end
  call('HSET', key, 'state', 'queued', 'time', command.issued, unpack(fields))
  call('PEXPIRE', key, command_memory)
  call('XADD', stream, '*', 'id', command.id, unpack(fields))
  return 'queued'
end
