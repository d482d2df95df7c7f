package rtdb_test

import (
	"slices"
	"strings"
)

// Two commands of channel 1001.
var (
	commandC1 = step{"comsrv_command", "1001", "c1", "A", "2", "-12.500000", "1000", "6000", "api"}
	commandC2 = step{"comsrv_command", "1001", "c2", "C", "3", "1", "1000", "6000", "rule:hot"}
)

const (
	storedC1  = "deadline=6000 issued=1000 origin=api point=2 state=queued time=1000 type=A value=-12.500000 (expires in 60 min)"
	waitingC1 = "* id=c1 type=A point=2 value=-12.500000 issued=1000 deadline=6000 origin=api"
)

func comsrvCommand() contract {
	return contract{
		function: "comsrv_command", key: numberID(),
		args: []kind{anID(), oneOf("C", "A"), numberID(), decimal(), milliseconds(), milliseconds(), words(1, 200)},
		more: []kind{whole(100, 604800000)}, least: 0, most: 1,
		examples: []example{
			{
				name: "a new one", key: "1001", args: commandC1[2:], reply: "queued",
				after: map[string]string{"comsrv:1001:command:c1": storedC1, "comsrv:1001:commands": waitingC1},
			},
			{
				name: "another one", before: []step{commandC1}, key: "1001", args: commandC2[2:], reply: "queued",
				after: map[string]string{
					"comsrv:1001:command:c2": "deadline=6000 issued=1000 origin=rule:hot point=3 state=queued time=1000 type=C value=1 (expires in 60 min)",
					"comsrv:1001:commands":   waitingC1 + "\n* id=c2 type=C point=3 value=1 issued=1000 deadline=6000 origin=rule:hot",
				},
			},
			{
				name: "one that holds for a time", key: "1001", args: append(slices.Clone(commandC1[2:]), "60000"), reply: "queued",
				after: map[string]string{
					"comsrv:1001:command:c1": strings.Replace(storedC1, "issued", "hold=60000 issued", 1), "comsrv:1001:commands": waitingC1 + " hold=60000",
				},
			},
			{name: "the same id again", before: []step{commandC1}, key: "1001", args: commandC1[2:], reply: "queued"},
			{
				name: "the same id after it was begun", before: []step{commandC1, {"comsrv_command_begin", "1001", "c1", "2000"}},
				key: "1001", args: commandC1[2:], reply: "executing",
			},
			{
				name: "with no time left", key: "1001", args: []string{"c1", "A", "2", "1", "1000", "1000", "api"},
				refused: "EXPIRED the deadline is not after the time of issue",
			},
			{
				name: "too many wait", before: []step{{"FILL", "comsrv:1001:commands", "1000"}}, key: "1001", args: commandC1[2:],
				refused: "FULL channel 1001 has 1000 commands waiting: is comsrv running?",
			},
			{
				name: "a point that is only read", key: "1001", args: []string{"c1", "T", "2", "1", "1000", "6000", "api"},
				refused: "INVALID a point of type 'T' cannot be written: use C or A",
			},
		},
	}
}

func comsrvCommandBegin() contract {
	return contract{
		function: "comsrv_command_begin", key: numberID(), args: []kind{commandID(), milliseconds()},
		examples: []example{
			{
				name: "at the last moment", before: []step{commandC1}, key: "1001", args: []string{"c1", "6000"}, reply: "executing",
				after: map[string]string{
					"comsrv:1001:command:c1": "begun=6000 " + strings.NewReplacer("state=queued", "state=executing", "time=1000", "time=6000").Replace(storedC1),
				},
			},
			{
				name: "after the deadline", before: []step{commandC1}, key: "1001", args: []string{"c1", "6001"},
				refused: "EXPIRED the deadline of command 'c1' has passed",
			},
			{
				name: "twice", before: []step{commandC1, {"comsrv_command_begin", "1001", "c1", "2000"}}, key: "1001", args: []string{"c1", "2000"},
				refused: "CONFLICT command 'c1' is executing already",
			},
			{
				name: "one that is forgotten", before: []step{commandC1}, key: "1001", args: []string{"c2", "2000"},
				refused: "EXPIRED command 'c2' is older than commands are remembered",
			},
			{
				name: "one of another channel", before: []step{commandC1}, key: "1002", args: []string{"c1", "2000"},
				refused: "EXPIRED command 'c1' is older than commands are remembered",
			},
		},
	}
}

func comsrvCommandGet() contract {
	return contract{
		function: "comsrv_command_get", key: numberID(), args: []kind{commandID()},
		examples: []example{
			{name: "queued", before: []step{commandC1}, key: "1001", args: []string{"c1"}, reply: list("c1", "A", "2", "-12.500000", "queued", "", "", "1000")},
			{
				name: "failed", before: []step{commandC1, {"comsrv_command_result", "1001", "c1", "failed", "3", "refused", "2000", "1-1"}},
				key: "1001", args: []string{"c1"}, reply: list("c1", "A", "2", "-12.500000", "failed", "3", "refused", "2000"),
			},
			{name: "none", before: []step{commandC1}, key: "1002", args: []string{"c1"}, refused: "NOT_FOUND no command 'c1' on channel 1002"},
		},
	}
}

func comsrvCommandResult() contract {
	// The command as it is once comsrv has taken it, with an entry that is known.
	taken := []step{
		{"HSET", "comsrv:1001:command:c1", "type", "A", "state", "executing", "time", "1500"}, {"PEXPIRE", "comsrv:1001:command:c1", "60000"},
		{"XADD", "comsrv:1001:commands", "1-1", "id", "c1"}, {"XADD", "comsrv:1001:commands", "1-2", "id", "c2"},
		{"TAKE", "comsrv:1001:commands", "comsrv", "me"},
	}
	without := map[string]string{"comsrv:1001:commands": "1-2 id=c2\ngroup comsrv 1-2@me"}
	return contract{
		function: "comsrv_command_result", key: numberID(),
		args: []kind{commandID(), oneOf("done", "failed", "expired", "unknown"), optional(decimal()), words(0, 500), milliseconds(), entry()},
		examples: []example{
			{
				name: "done", before: taken, key: "1001", args: []string{"c1", "done", "-12.500000", "", "2000", "1-1"}, reply: "done",
				after: with(without, map[string]string{
					"comsrv:1001:command:c1":       "read_back=-12.500000 reason= state=done time=2000 type=A (expires in 1 min)",
					"comsrv:1001:commands:results": "* id=c1 state=done read_back=-12.500000 reason= time=2000 type=A point= value= origin= issued= begun= hold=",
				}),
			},
			{
				name: "of one that was never begun", before: []step{commandC1}, key: "1001", args: []string{"c1", "expired", "", "too late", "7000", "1-1"}, reply: "expired",
				after: map[string]string{
					"comsrv:1001:command:c1": "deadline=6000 issued=1000 origin=api point=2 read_back= reason=too late state=expired time=7000 " +
						"type=A value=-12.500000 (expires in 60 min)",
					"comsrv:1001:commands:results": "* id=c1 state=expired read_back= reason=too late time=7000 type=A point=2 value=-12.500000 origin=api issued=1000 begun= hold=",
				},
			},
			{
				name: "of one that was to hold", key: "1001", args: []string{"c1", "failed", "3", "other", "7000", "1-1"}, reply: "failed",
				before: []step{append(slices.Clone(commandC1), "60000"), {"comsrv_command_begin", "1001", "c1", "2000"}},
				after: map[string]string{
					"comsrv:1001:command:c1": "begun=2000 deadline=6000 hold=60000 issued=1000 origin=api point=2 read_back=3 reason=other state=failed time=7000 " +
						"type=A value=-12.500000 (expires in 60 min)",
					"comsrv:1001:commands:results": "* id=c1 state=failed read_back=3 reason=other time=7000 type=A point=2 value=-12.500000 origin=api issued=1000 begun=2000 hold=60000",
				},
			},
			{
				name: "the first one stands", before: append(taken, step{"comsrv_command_result", "1001", "c1", "done", "", "", "2000", "9-9"}),
				key: "1001", args: []string{"c1", "unknown", "", "late", "3000", "1-1"}, reply: "done", after: without,
			},
			{
				name: "of one that is forgotten", before: taken[2:], key: "1001", args: []string{"c1", "failed", "", "x", "3000", "1-1"}, reply: "failed", after: without,
			},
			{name: "of nothing at all", key: "1001", args: []string{"c1", "failed", "", "x", "3000", "1-1"}, reply: "failed"},
		},
	}
}
