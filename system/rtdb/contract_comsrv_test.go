package rtdb_test

import "strings"

import "testing"

func TestContractOfComsrv(t *testing.T) {
	t.Parallel()
	fulfil(t, comsrvContracts())
}

func TestContractOfMadeChannels(t *testing.T) {
	t.Parallel()
	fulfil(t, madeContracts())
}

func comsrvContracts() []contract {
	return []contract{
		comsrvIngest(), comsrvIngestDoubted(), comsrvRead(), comsrvMark(), comsrvStatus(), comsrvChannels(), comsrvRemove(), comsrvHoldArm(), comsrvHoldSettle(), comsrvHoldDue(),
		comsrvCommand(), comsrvCommandBegin(), comsrvCommandGet(), comsrvCommandResult(),
	}
}

// Two values of channel 1001, and what is told of a batch at 5000 ms.
var ingestTwo = step{"comsrv_ingest", "1001", "T", "5000", "default", "0", "1", "2.500000", "2", "-1.000000"}

func toldUpdate(values, qualities string) []string {
	return []string{`comsrv:updates:1001 {"channel":1001,"type":"T","time":5000,"values":[` + values + `],"quality":{` + qualities + `}}`}
}

// hotRule fires when point 1 of channel 1001 is above 55 and does all that a rule
// can do but clear the alarm of another one.
const hotRule = `{"id":"hot","name":"Too hot","conditions":[{"source":"comsrv:1001:T:1","operator":">","value":55}],"actions":[` +
	`{"type":"create_alarm","params":{"level":"Critical","title":"Too hot"}},{"type":"notify","params":{"message":"call somebody"}},` +
	`{"type":"control","params":{"target":"comsrv:1002:A:2","value":-1.5}}]}`

var upsertHot = step{"rule_upsert", "hot", hotRule, "1000"}

// What is told of the rule, and kept of each change of its state.
func hotSeen(number string) string {
	if number != "null" {
		number = `"` + number + `"`
	}
	return `{"comsrv:1001:T:1":` + number + `}`
}

func hotMoved(from, to, time, number string) string {
	return "* rule=hot from=" + from + " to=" + to + " time=" + time + " values=" + hotSeen(number)
}

func triggered(rule, from, to, time string) string {
	return `rulesrv:triggered {"rule":"` + rule + `","from":"` + from + `","status":"` + to + `","time":` + time + `}`
}

// hotAlarm is the alarm of the rule, on its way.
func hotAlarm(before, state string) string {
	return before + "description= last_at=5000 level=Critical occurrences=1 raised_at=5000 recent=5000 rule=hot source=comsrv:1001:T:1 state=" +
		state + " title=Too hot value=60.000000 worst=60.000000"
}

// hotEntry is an entry of the journal about it.
func hotEntry(event, from, to, time, by string) string {
	return "* event=" + event + " alarm=1 from=" + from + " to=" + to + " time=" + time + " by=" + by +
		" level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=60.000000 text="
}

// hotFired is what is there after the rule has fired on a value of 60 at 5000 ms.
func hotFired() map[string]string {
	return with(hotStands(), map[string]string{
		"rulesrv:actions":      "* rule=hot type=notify message=call somebody to= time=5000",
		"comsrv:1002:commands": "* id=rule-hot-3-5000 type=A point=2 value=-1.500000 issued=5000 deadline=10000 origin=rule:hot",
		"comsrv:1002:command:rule-hot-3-5000": "deadline=10000 issued=5000 origin=rule:hot point=2 state=queued time=5000 type=A " +
			"value=-1.500000 (expires in 60 min)",
	}, hotAlarmRaised())
}

// hotStands is what the rule itself leaves.
func hotStands() map[string]string {
	return map[string]string{
		"rulesrv:state:hot": "fired=1 last_fired=5000 since=5000", "rulesrv:standing": "hot=active 5000",
		"rulesrv:events": hotMoved("idle", "active", "5000", "60.000000"), "rulesrv:firings:hot": `{"time":5000,"values":` + hotSeen("60.000000") + `}`,
	}
}

func hotAlarmRaised() map[string]string {
	return map[string]string{
		"alarmsrv:alarm:1": hotAlarm("", "active_unacknowledged"), "alarmsrv:sequence": "1", "alarmsrv:definitions": hotOpen,
		"alarmsrv:alarms:active": "1", "alarmsrv:alarms:by_level:Critical": "1", hotSource: "1", "alarmsrv:order:all": "1=1", "alarmsrv:order:time": "000000000000001=5000",
		"alarmsrv:order:open": "1=1", "alarmsrv:order:active": "1=1", "alarmsrv:order:standing": "1=5000", "alarmsrv:order:level:Critical": "1=1",
		"alarmsrv:order:source:comsrv:1001:T:1": "1=1", "alarmsrv:counts": "active_unacknowledged:Critical=1", "alarmsrv:flood": "minute=0 s0=1 total=1",
		"alarmsrv:journal": hotEntry("raise", "", "active_unacknowledged", "5000", "rule:hot"),
		"alarmsrv:notifications": "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description= " +
			"occurrence=1 value=60.000000 time=5000 text=raise",
	}
}

func hotFiredTold() []string {
	return []string{triggered("hot", "idle", "active", "5000"), hotToldFrom + `","state":"active_unacknowledged"` + hotTold + `"rule:hot","time":5000}`}
}

// with returns what the first map and then the others say.
func with(first map[string]string, others ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, each := range append([]map[string]string{first}, others...) {
		for key, text := range each {
			all[key] = text
		}
	}
	return all
}

func comsrvIngest() contract {
	stored := map[string]string{"comsrv:1001:T": "1=60.000000", "comsrv:1001:T:ts": "1=5000", "comsrv:1001:status": "group:default=5000"}
	hot := []string{"T", "5000", "default", "0", "1", "60.000000"}
	feed := step{"hissrv_configure", "battery", "comsrv:1001:T", "m", "0"}
	return contract{
		function: "comsrv_ingest", key: numberID(),
		args: []kind{pointType(), milliseconds(), optional(anID()), oneOf("0")}, more: []kind{numberID(), decimal()}, most: 1000,
		examples: []example{
			{
				name: "values", key: "1001", args: ingestTwo[2:], reply: list("2", "0"),
				after: map[string]string{
					"comsrv:1001:T": "1=2.500000 2=-1.000000", "comsrv:1001:T:ts": "1=5000 2=5000", "comsrv:1001:status": "group:default=5000",
				},
				told: toldUpdate(`"1","2.500000","2","-1.000000"`, ""),
			},
			{
				name: "a good value takes the mark of a bad one", key: "1001", args: hot, reply: list("1", "0"),
				before: []step{ingestTwo, {"comsrv_mark", "1001", "bad", "5000"}},
				after:  map[string]string{"comsrv:1001:T": "1=60.000000 2=-1.000000", "comsrv:1001:T:q": "2=bad"},
				told:   toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "another poll group", key: "1001", args: []string{"T", "5000", "slow", "0", "1", "60.000000"}, reply: list("1", "0"),
				after: with(stored, map[string]string{"comsrv:1001:T:g": "1=slow", "comsrv:1001:status": "group:slow=5000"}),
				told:  toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "back in the default group", key: "1001", args: hot, reply: list("1", "0"),
				before: []step{{"comsrv_ingest", "1001", "T", "4000", "slow", "0", "1", "3"}},
				after:  with(stored, map[string]string{"comsrv:1001:T:g": gone, "comsrv:1001:status": "group:default=5000 group:slow=4000"}),
				told:   toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "of a poll that failed in part", key: "1001", args: []string{"T", "5000", "", "0", "1", "60.000000"}, reply: list("1", "0"),
				after: map[string]string{"comsrv:1001:T": "1=60.000000", "comsrv:1001:T:ts": "1=5000"}, told: toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "nothing has changed", key: "1001", args: []string{"T", "5000", "default", "0"}, reply: list("0", "0"),
				after: map[string]string{"comsrv:1001:status": "group:default=5000"},
			},
			{
				name: "fed into history", before: []step{feed}, key: "1001", args: hot, reply: list("1", "0"),
				after: with(stored, map[string]string{"hissrv:stream": "* mapping=battery time=5000 points=1 60.000000"}),
				told:  toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "a full history", before: []step{feed, {"FILL", "hissrv:stream", "200000"}}, key: "1001", args: hot, reply: list("1", "0"),
				after: with(stored, map[string]string{"hissrv:counters": "dropped=1"}), told: toldUpdate(`"1","60.000000"`, ""),
			},
			{
				name: "a rule fires", before: []step{upsertHot}, key: "1001", args: hot, reply: list("1", "1"), after: with(stored, hotFired()),
				told: append(hotFiredTold(), toldUpdate(`"1","60.000000"`, "")...),
			},
			{
				name: "a rule stays as it is", before: []step{upsertHot, append(step{"comsrv_ingest", "1001"}, hot...)}, key: "1001",
				args: []string{"T", "5000", "default", "0", "1", "61.000000"}, reply: list("1", "0"),
				after: map[string]string{
					"comsrv:1001:T": "1=61.000000", "alarmsrv:alarm:1": strings.Replace(hotAlarm("", "active_unacknowledged"), "worst=60.", "worst=61.", 1),
				},
				told: toldUpdate(`"1","61.000000"`, ""),
			},
		},
	}
}

func comsrvIngestDoubted() contract {
	return contract{
		function: "comsrv_ingest", key: numberID(),
		// The fourth argument says that three for one sample follow, which is bad and may come without a number.
		args: []kind{pointType(), milliseconds(), optional(anID()), oneOf("1"), numberID(), optional(decimal()), oneOf("uncertain", "stale", "bad")},
		more: []kind{numberID(), decimal()}, most: 999,
		examples: []example{
			{
				name: "a bad value stays with its mark", before: []step{ingestTwo}, key: "1001",
				args: []string{"T", "5000", "default", "1", "1", "", "bad", "2", "7"}, reply: list("2", "0"),
				after: map[string]string{"comsrv:1001:T": "1=2.500000 2=7", "comsrv:1001:T:q": "1=bad"},
				told:  toldUpdate(`"2","7"`, `"1":"bad"`),
			},
			{
				name: "an uncertain one is stored, and no history, and no rule acts on it", key: "1001",
				before: []step{upsertHot, {"hissrv_configure", "battery", "comsrv:1001:T", "m", "0"}},
				args:   []string{"T", "5000", "slow", "2", "1", "60.000000", "uncertain", "2", "3", "stale"}, reply: list("2", "0"),
				after: map[string]string{
					"comsrv:1001:T": "1=60.000000 2=3", "comsrv:1001:T:ts": "1=5000 2=5000", "comsrv:1001:T:q": "1=uncertain 2=stale",
					"comsrv:1001:T:g": "1=slow 2=slow", "comsrv:1001:status": "group:slow=5000",
				},
				told: toldUpdate(`"1","60.000000","2","3"`, `"1":"uncertain","2":"stale"`),
			},
			{
				name: "uncertain about nothing", key: "1001", args: []string{"T", "5000", "default", "1", "1", "", "uncertain"},
				refused: "INVALID point 1 is uncertain and has no number",
			},
		},
	}
}

func comsrvRead() contract {
	slow := step{"comsrv_ingest", "1001", "T", "5000", "slow", "1", "3", "4", "uncertain", "4", "5"}
	fast := step{"comsrv_ingest", "1001", "T", "16000", "default", "0"}
	return contract{
		function: "comsrv_read", key: numberID(), args: []kind{pointType(), milliseconds()}, more: []kind{numberID()}, least: 1, most: 1000,
		examples: []example{
			{
				name: "all good, one of which never was read", before: []step{ingestTwo}, key: "1001", args: []string{"T", "15000", "2", "9", "1"},
				reply: list(list("-1.000000", nil, "2.500000"), list("5000", nil, "5000"), list()),
			},
			{
				name: "too old", before: []step{ingestTwo}, key: "1001", args: []string{"T", "15001", "2", "9"},
				reply: list(list("-1.000000", nil), list("5000", nil), list("stale", "bad")),
			},
			{
				name: "fresh through its poll group alone", before: []step{ingestTwo, slow, fast}, key: "1001", args: []string{"T", "17000", "1", "3", "4"},
				reply: list(list("2.500000", "4", "5"), list("5000", "5000", "5000"), list("good", "uncertain", "stale")),
			},
			{
				name: "as long as the channel says", before: []step{ingestTwo, {"comsrv_status", "1001", "1", "", "0", "0", "500", "5000"}}, key: "1001",
				args: []string{"T", "5501", "1"}, reply: list(list("2.500000"), list("5000"), list("stale")),
			},
			{
				name: "as long as the poll group says", key: "1001", args: []string{"T", "5501", "3", "4", "1"},
				before: []step{ingestTwo, slow, {"comsrv_status", "1001", "1", "", "0", "0", "500", "5000", "slow", "501"}},
				reply:  list(list("4", "5", "2.500000"), list("5000", "5000", "5000"), list("uncertain", "good", "stale")),
			},
			{name: "another type", before: []step{ingestTwo}, key: "1001", args: []string{"S", "6000", "1"}, reply: list(list(nil), list(nil), list())},
		},
	}
}

func comsrvMark() contract {
	signal := step{"comsrv_ingest", "1001", "S", "5000", "default", "0", "4", "1"}
	bad := step{"comsrv_mark", "1001", "bad", "5000"}
	return contract{
		function: "comsrv_mark", key: numberID(), args: []kind{quality(), milliseconds()},
		examples: []example{
			{
				name: "all bad", before: []step{ingestTwo, signal}, key: "1001", args: []string{"bad", "5000"}, reply: "3",
				after: map[string]string{"comsrv:1001:T:q": "1=bad 2=bad", "comsrv:1001:S:q": "4=bad"},
				told: append(toldUpdate("", `"1":"bad","2":"bad"`),
					`comsrv:updates:1001 {"channel":1001,"type":"S","time":5000,"values":[],"quality":{"4":"bad"}}`),
			},
			{
				name: "all good again", before: []step{ingestTwo, signal, bad}, key: "1001", args: []string{"", "6000"}, reply: "3",
				after: map[string]string{"comsrv:1001:T:q": gone, "comsrv:1001:S:q": gone},
			},
			{
				name: "watched by rules", before: []step{
					{"rule_upsert", "direct", plainRule("direct", above("comsrv:1001:T:1", "99")), "1000"}, signal, bad,
				},
				key: "1001", args: []string{"", "6000"}, reply: "1",
				after: map[string]string{"comsrv:1001:S:q": gone, "rulesrv:due": "*1001:A=0 *1001:C=0 *1001:S=0 *1001:T=0"},
			},
			{name: "a channel without values", before: []step{ingestTwo}, key: "1002", args: []string{"bad", "5000"}, reply: "0"},
		},
	}
}

func comsrvStatus() contract {
	return contract{
		function: "comsrv_status", key: numberID(),
		args: []kind{oneOf("0", "1"), words(0, 500), whole(0, 9999999999), whole(0, 9999999999), whole(0, 9999999999), milliseconds()},
		more: []kind{anID(), whole(0, 9999999999)}, most: 20,
		examples: []example{
			{
				name: "beside the poll groups", before: []step{ingestTwo}, key: "1001", args: []string{"0", "no answer", "3", "1500", "2000", "6000"}, reply: "OK",
				after: map[string]string{
					"comsrv:1001:status": "errors=3 group:default=5000 online=0 reason=no answer round_trip_us=1500 stale_after_ms=2000 updated=6000",
					"comsrv:channels":    "1001",
				},
			},
			{
				name: "with poll groups of their own, and no more than these",
				before: []step{
					{"comsrv_status", "1001", "0", "", "0", "0", "1", "1", "slow", "7", "old", "8"},
					{"comsrv_ingest", "1001", "T", "5000", "slow", "0"}, {"comsrv_ingest", "1001", "T", "5000", "old", "0"}, {"comsrv_ingest", "1001", "T", "5000", "default", "0"},
				},
				key:  "1001",
				args: []string{"1", "", "0", "0", "2000", "6000", "slow", "120000", "fast", "300"}, reply: "OK",
				after: map[string]string{
					"comsrv:1001:status": "errors=0 group:default=5000 group:slow=5000 online=1 reason= round_trip_us=0 stale_after_ms:fast=300 stale_after_ms:slow=120000 stale_after_ms=2000 updated=6000",
				},
			},
			{
				name: "a poll group without its time", key: "1001", args: []string{"1", "", "0", "0", "2000", "6000", "slow"},
				refused: "INVALID six values are expected, then poll group and stale after for each that has its own",
			},
			{
				name: "another channel", before: []step{{"comsrv_status", "7", "0", "x", "1", "1", "1", "1"}}, key: "1001", args: []string{"1", "", "0", "0", "0", "0"}, reply: "OK",
				after: map[string]string{
					"comsrv:1001:status": "errors=0 online=1 reason= round_trip_us=0 stale_after_ms=0 updated=0", "comsrv:channels": "1001 7",
				},
			},
		},
	}
}

func comsrvChannels() contract {
	return contract{
		function: "comsrv_channels", key: anyName(),
		examples: []example{
			{
				name: "in the order of their numbers", key: "all", reply: list("7", "0", "no answer", "3", "6000", "10", "", "", "", "", "1001", "1", "", "0", "5000"),
				before: []step{
					{"comsrv_status", "1001", "1", "", "0", "9", "9", "5000"}, {"comsrv_status", "7", "0", "no answer", "3", "9", "9", "6000"},
					{"SADD", "comsrv:channels", "10"}, ingestTwo,
				},
			},
			{name: "none", key: "all", reply: list()},
		},
	}
}

func comsrvRemove() contract {
	keep := []step{
		{"comsrv_ingest", "1002", "T", "5000", "slow", "1", "3", "4", "bad", "4", "5"}, {"comsrv_status", "1002", "1", "", "0", "0", "0", "5000"},
		{"comsrv_command", "1002", "c1", "A", "2", "3", "1000", "6000", "api"},
	}
	doomed := append(append([]step{}, keep...), []step{
		{"comsrv_ingest", "1001", "T", "5000", "slow", "1", "3", "4", "bad", "4", "5"}, {"comsrv_status", "1001", "1", "", "0", "0", "0", "5000"},
		{"comsrv_switch", "1001", "0"}, {"comsrv_switch", "1002", "0"},
		armed("2", "a", "1000", "5000"), {"comsrv_hold_arm", "1002", "A", "3", "b", "1000", "5000", ""},
		commandC1, commandC2, {"TAKE", "comsrv:1001:commands", "comsrv", "me"}, {"comsrv_command_result", "1001", "c2", "done", "", "", "2000", "1-2"},
	}...)
	return contract{
		function: "comsrv_remove", key: numberID(),
		examples: []example{
			{
				name: "with all that it has, and nothing of another", before: doomed, key: "1001", reply: "done",
				after: map[string]string{
					"comsrv:1001:T": gone, "comsrv:1001:T:ts": gone, "comsrv:1001:T:q": gone, "comsrv:1001:T:g": gone, "comsrv:1001:status": gone,
					"comsrv:1001:commands": gone, "comsrv:1001:commands:results": gone, "comsrv:1001:command:c1": gone, "comsrv:1001:command:c2": gone,
					"comsrv:channels": "1002", "comsrv:1001:holds": gone, "comsrv:holds": "1002:A:3=6000", "comsrv:switched": "1002=0",
				},
			},
			{
				name: "in parts", before: []step{{"comsrv_status", "1001", "1", "", "0", "0", "0", "5000"}, {"FILL", "comsrv:1001:commands", "502"}}, key: "1001", reply: "more",
				after: map[string]string{"comsrv:1001:commands": "* x=1\n* x=1"},
			},
			{name: "one that never was", before: keep, key: "1001", reply: "done"},
		},
	}
}
