-- alarm_suppressions: list the suppressions in the order of their ids
-- KEYS   [{site}:]all
-- ARGV   none
-- reply  id, scope, value, by whom, why, since ms, until ms or '' for each
-- errors INVALID
-- keys   alarmsrv:suppressions r
-- flags  no-writes
local function alarm_suppressions(keys, args)
  local namespace = split_key(keys)
  check_count(args, 0, 0)
  local reply = {}
  for _, s in ipairs(stored_suppressions(namespace)) do
    for _, text in ipairs({s.id, s.scope, s.value, s.by, s.reason, s.since, s.expires}) do
      reply[#reply + 1] = text
    end
  end
  return reply
end
