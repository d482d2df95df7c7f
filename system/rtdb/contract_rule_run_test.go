package rtdb_test

import (
	"slices"
	"strconv"
	"strings"
)

func ruleEvaluate() contract {
	// The value came in another way than by ingest, so that the rule has not seen it.
	hot := []step{upsertHot, {"HSET", "comsrv:1001:T", "1", "60.000000"}, {"HSET", "comsrv:1001:T:ts", "1", "5000"}}
	and := func(more ...step) []step { return append(append([]step{}, hot...), more...) }
	fresh := step{"HSET", "comsrv:1001:status", "group:default", "5000"}
	stale := step{"HSET", "comsrv:1001:T:ts", "1", "1"}
	idle := without(hotCleared("5000", "50.000000"), "rulesrv:state:hot") // since is what it was
	full := with(without(hotFired(), "rulesrv:actions"), map[string]string{"rulesrv:counters": "actions_dropped=1"})
	refused := with(without(hotFired(), "comsrv:1002:commands", "comsrv:1002:command:rule-hot-3-5000"), map[string]string{
		"rulesrv:actions": "* rule=hot type=notify message=call somebody to= time=5000\n" +
			"* rule=hot type=notify message=control of comsrv:1002:A:2 was not queued: too many commands wait to= time=5000",
	})
	calm := step{"rule_upsert", "calm", `{"id":"calm","conditions":[` + above("comsrv:1001:T:1", "70") + `],"actions":[{"type":"resolve_alarm","params":{"rule":"hot"}}]}`, "1000"}
	c := contract{function: "rule_evaluate", key: anID(), args: []kind{milliseconds()}}
	add := func(e example) {
		if e.key == "" {
			e.key = "hot"
		}
		e.args = []string{"5000"}
		c.examples = append(c.examples, e)
	}
	add(example{name: "fires", before: and(fresh), reply: "active", after: hotFired(), told: hotFiredTold()})
	add(example{name: "fires on a value that is fresh by itself", before: hot, reply: "active", after: hotFired(), told: hotFiredTold()})
	add(example{name: "fires on a value of a group", before: and(step{"HSET", "comsrv:1001:T:g", "1", "slow"}, step{"HSET", "comsrv:1001:status", "group:slow", "5000"}, stale), reply: "active", after: hotFired(), told: hotFiredTold()})
	add(example{name: "has fired", before: []step{upsertHot, ingestHot}, reply: "active"})
	add(example{name: "goes idle", before: []step{upsertHot, ingestHot, {"HSET", "comsrv:1001:T", "1", "50"}}, reply: "idle", after: idle, told: hotClearedTold("5000")})
	add(example{name: "not on a bad value", before: and(fresh, step{"HSET", "comsrv:1001:T:q", "1", "bad"}), reply: "idle"})
	add(example{name: "not on a stale value", before: and(stale, step{"HSET", "comsrv:1001:status", "stale_after_ms", "1000", "group:default", "3999"}), reply: "idle"})
	add(example{name: "not without a value", before: []step{upsertHot}, reply: "idle"})
	add(example{name: "stays active without a value", before: []step{upsertHot, ingestHot, {"comsrv_mark", "1001", "bad", "5000"}}, reply: "active"})
	add(example{name: "too many actions wait", before: and(step{"FILL", "rulesrv:actions", "10000"}), reply: "active", after: full, told: hotFiredTold()})
	add(example{
		name: "a target is too slow", before: and(step{"FILL", "rulesrv:actions", "1"}, step{"TAKE", "rulesrv:actions", "duty", "netsrv"}, step{"FILL", "rulesrv:actions", "10000"}),
		reply: "active", after: with(full, map[string]string{
			"rulesrv:counters": "actions_dropped=2", "netsrv:lost": "duty=1", "rulesrv:actions": "10000 entries\ngroup duty *@netsrv",
		}), told: hotFiredTold(),
	})
	add(example{name: "too many commands wait", before: and(step{"FILL", "comsrv:1002:commands", "1000"}), reply: "active", after: refused, told: hotFiredTold()})
	add(example{
		name: "clears the alarm of another rule", before: []step{upsertHot, ingestHot, calm, {"HSET", "comsrv:1001:T", "1", "80"}}, key: "calm", reply: "active",
		after: with(hotAlarmCleared("5000"), map[string]string{
			"alarmsrv:journal": hotEntry("raise", "", "active_unacknowledged", "5000", "rule:hot") + "\n" +
				hotEntry("clear", "active_unacknowledged", "cleared_unacknowledged", "5000", "rule:calm"),
			"rulesrv:state:calm": "fired=1 last_fired=5000 since=5000", "rulesrv:standing": "calm=active 5000 hot=active 5000",
			"rulesrv:events":       hotMoved("idle", "active", "5000", "60.000000") + "\n* rule=calm from=idle to=active time=5000 values=" + hotSeen("80.000000"),
			"rulesrv:firings:calm": `{"time":5000,"values":` + hotSeen("80.000000") + `}`,
		}),
		told: []string{
			triggered("calm", "idle", "active", "5000"),
			hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"rule:calm","time":5000}`,
		},
	})
	add(example{name: "disabled", before: and(step{"rule_enable", "hot", "0", "2000"}), reply: "disabled"})
	add(example{name: "none", before: hot, key: "cold", refused: "NOT_FOUND no rule 'cold'"})
	for _, e := range ruleStates() {
		add(e)
	}
	return c
}

// stored is a rule that is stored at 1000 ms, before what it watches is there.
func stored(config string) step {
	return step{"rule_upsert", idOf(config), config, "1000"}
}

func idOf(config string) string {
	_, rest, _ := strings.Cut(config, `{"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// fired is what a rule without actions leaves when it becomes active at 5000 ms.
func fired(id, values string) map[string]string {
	return map[string]string{
		"rulesrv:state:" + id: "fired=1 last_fired=5000 since=5000", "rulesrv:standing": id + "=active 5000",
		"rulesrv:events":        "* rule=" + id + " from=idle to=active time=5000 values=" + values,
		"rulesrv:firings:" + id: `{"time":5000,"values":` + values + `}`,
	}
}

// ruleStates are the evaluations of rules that do more than compare one point.
func ruleStates() []example {
	hot := []step{{"HSET", "comsrv:1001:T", "1", "60.000000"}, {"HSET", "comsrv:1001:T:ts", "1", "5000"}}
	and := func(more ...step) []step { return append(append([]step{}, more...), hot...) }
	condition := above("comsrv:1001:T:1", "55")
	slow := stored(`{"id":"slow","on_delay":"10s","off_delay":"5s","conditions":[` + condition + `]}`)
	rising := stored(plainRule("rising", `{"source":"comsrv:1001:T:1","operator":"rising"}`))
	sets := stored(`{"id":"sets","conditions":[` + condition + `],"actions":[{"type":"set_value","params":{"name":"x","value":7}},` +
		`{"type":"publish","params":{"channel":"siren","message":"{\"on\":true}"}},{"type":"notify","when":"idle","params":{"message":"over"}}]}`)
	follows := stored(plainRule("follows", above("custom:x", "3")))
	model := step{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1001,"data":{"temp":1}},"computed":[{"name":"twice","expression":"2 * temp"}]}`}
	ofModel := stored(plainRule("of_model", above("modsrv:m2:twice", "110")))
	wary := stored(`{"id":"wary","bad_input":"alarm","conditions":[` + condition + `]}`)
	seen := hotSeen("60.000000")
	setsFired := with(fired("sets", seen), fired("follows", `{"custom:x":"7.000000"}`), map[string]string{
		"rulesrv:custom": "x=7.000000", "rulesrv:standing": "follows=active 5000 sets=active 5000",
		"rulesrv:events": fired("sets", seen)["rulesrv:events"] + "\n" + fired("follows", `{"custom:x":"7.000000"}`)["rulesrv:events"],
	})
	waryEntry := func(event, from, to, time string) string {
		return "* event=" + event + " alarm=1 from=" + from + " to=" + to + " time=" + time + " by=rule:wary level=Warning source=rulesrv:wary:input " +
			"rule=wary title=Input of a rule cannot be used occurrence=1 value= text="
	}
	pulse := fired("rising", seen)
	delete(pulse, "rulesrv:standing") // it is idle again
	return []example{
		{
			name: "waits for its delay", before: and(slow), key: "slow", reply: "pending",
			after: map[string]string{
				"rulesrv:state:slow": "since=5000", "rulesrv:standing": "slow=pending 5000", "rulesrv:due": "slow=15000",
				"rulesrv:events": "* rule=slow from=idle to=pending time=5000 values=" + seen,
			},
			told: []string{triggered("slow", "idle", "pending", "5000")},
		},
		{
			name: "remembers", before: and(rising), key: "rising", reply: "idle",
			after: map[string]string{"rulesrv:memory": "rising=\x81\xa21e\x91<"},
		},
		{
			name: "is rising", before: append(and(rising, step{"HSET", "comsrv:1001:T", "1", "50"}, step{"HSET", "comsrv:1001:T:ts", "1", "2000"}, step{"rule_evaluate", "rising", "2000"}), hot...),
			key: "rising", reply: "idle",
			after: with(pulse, map[string]string{
				"rulesrv:memory": "rising=\x81\xa21e\x91<",
				"rulesrv:events": fired("rising", seen)["rulesrv:events"] + "\n* rule=rising from=active to=idle time=5000 values=" + seen,
			}),
			told: []string{triggered("rising", "idle", "active", "5000"), triggered("rising", "active", "idle", "5000")},
		},
		{
			name: "sets off another one", before: and(follows, sets), key: "sets", reply: "active", after: setsFired,
			told: []string{triggered("sets", "idle", "active", "5000"), triggered("follows", "idle", "active", "5000"), `rulesrv:published:siren {"on":true}`},
		},
		{
			name: "watches a model", before: and(model, ofModel), key: "of_model", reply: "active", after: fired("of_model", `{"modsrv:m2:twice":"120.000000"}`),
			told: []string{triggered("of_model", "idle", "active", "5000")},
		},
		{
			name: "says that its input is usable again", before: and(wary, step{"rule_evaluate", "wary", "4000"}, step{"rule_evaluate", "wary", "11000"}), key: "wary", reply: "active",
			after: with(fired("wary", seen), map[string]string{
				"rulesrv:memory": "wary=\x90", "alarmsrv:alarms:active": gone, "alarmsrv:order:active": gone, "alarmsrv:order:standing": gone,
				"alarmsrv:alarm:1": "cleared_at=5000 description=Rule wary cannot be judged: comsrv:1001:T:1 is bad, stale or unknown last_at=11000 " +
					"level=Warning occurrences=1 raised_at=11000 recent=11000 rule=wary source=rulesrv:wary:input state=cleared_unacknowledged " +
					"title=Input of a rule cannot be used value=",
				"alarmsrv:counts": "active_unacknowledged:Warning=0 cleared_unacknowledged:Warning=1",
				"alarmsrv:journal": waryEntry("raise", "", "active_unacknowledged", "11000") + "\n" +
					waryEntry("clear", "active_unacknowledged", "cleared_unacknowledged", "5000"),
			}),
			told: []string{
				`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"cleared_unacknowledged","level":"Warning","source":"rulesrv:wary:input",` +
					`"title":"Input of a rule cannot be used","by":"rule:wary","time":5000}`,
				triggered("wary", "idle", "active", "5000"),
			},
		},
	}
}

func ruleBatchEvaluate() contract {
	before := []step{
		upsertHot, {"rule_upsert", "dry", plainRule("dry", above("comsrv:1001:T:1", "70")), "1000"},
		{"rule_upsert", "off", `{"id":"off","enabled":false,"conditions":[` + above("comsrv:1001:T:1", "3") + `]}`, "1000"},
		{"HSET", "comsrv:1001:T", "1", "60.000000"}, {"HSET", "comsrv:1001:T:ts", "1", "5000"},
	}
	return contract{
		function: "rule_batch_evaluate", key: anyName(), args: []kind{milliseconds()}, more: []kind{anID()}, least: 1, most: 1000,
		examples: []example{
			{
				name: "in the order asked", before: before, key: "all", args: []string{"5000", "off", "hot", "none", "dry", "hot"},
				reply: list("disabled", "active", "missing", "idle", "active"), after: hotFired(), told: hotFiredTold(),
			},
			{name: "without any", key: "all", args: []string{"5000", "hot"}, reply: list("missing")},
		},
	}
}

func ruleTick() contract {
	slow := stored(`{"id":"slow","on_delay":"10s","conditions":[` + above("comsrv:1001:T:1", "55") + `]}`)
	waits := []step{slow, {"HSET", "comsrv:1001:status", "stale_after_ms", "20000"}, ingestHot}
	fresh := step{"comsrv_ingest", "1001", "T", "15000", "default", "0"}
	active := map[string]string{
		"rulesrv:state:slow": "fired=1 last_fired=15000 since=15000", "rulesrv:standing": "slow=active 15000", "rulesrv:due": gone,
		"rulesrv:events": "* rule=slow from=idle to=pending time=5000 values=" + hotSeen("60.000000") +
			"\n* rule=slow from=pending to=active time=15000 values=" + hotSeen("60.000000"),
		"rulesrv:firings:slow": `{"time":15000,"values":` + hotSeen("60.000000") + `}`,
	}
	return contract{
		function: "rule_tick", key: anyName(), args: []kind{milliseconds(), whole(1, 1000)},
		examples: []example{
			{
				name: "a delay is over", before: append(slices.Clone(waits), fresh), key: "all", args: []string{"15000", "10"}, reply: list("1", "1", "0"),
				after: active, told: []string{triggered("slow", "pending", "active", "15000")},
			},
			{
				name: "the models are others", before: append(slices.Clone(waits), step{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1001,"data":{"temp":1}}}`},
					stored(plainRule("of_model", above("modsrv:m2:temp", "99")))),
				key: "all", args: []string{"14999", "10"}, reply: list("1", "0", "0"), after: map[string]string{"rulesrv:models": "1"},
			},
			{name: "nothing is due", before: waits, key: "all", args: []string{"14999", "10"}, reply: list("0", "0", "0")},
			{
				name: "inputs are known only up to before the end of the delay", before: waits, key: "all", args: []string{"15000", "10"}, reply: list("1", "0", "0"),
				after: map[string]string{"rulesrv:due": "slow=15100"},
			},
			{
				name: "more are due than are asked for", before: append(slices.Clone(waits), fresh, step{"ZADD", "rulesrv:due", "15000", "gone"}, step{"ZADD", "rulesrv:due", "14000", "lost"}),
				key: "all", args: []string{"15000", "2"}, reply: list("2", "0", "1"), after: map[string]string{"rulesrv:due": "slow=15000"},
			},
		},
	}
}

func ruleSchedule() contract {
	day := `{"id":"day","conditions":[` + above("comsrv:1001:T:1", "55") + `],"schedule":{"from":"08:00","to":"18:00"}}`
	config := "config=" + day + " enabled=1 sources=comsrv:1001:T:1"
	from := kind{"a time before 9000 ms", func(text string) bool {
		number, err := strconv.Atoi(text)
		return milliseconds().legal(text) && err == nil && number < 9000
	}}
	till := kind{"a time after 4000 ms", func(text string) bool {
		number, err := strconv.Atoi(text)
		return milliseconds().legal(text) && err == nil && number > 4000
	}}
	return contract{
		function: "rule_schedule", key: anID(), args: []kind{milliseconds()}, more: []kind{from, till}, most: 100,
		examples: []example{
			{
				name: "in force now", before: []step{stored(day), ingestHot}, key: "day", args: []string{"5000", "4000", "9000"}, reply: "active",
				after: with(fired("day", hotSeen("60.000000")), map[string]string{
					"rulesrv:rule:day": config + " windows=4000-9000", "rulesrv:sequence": "2", "rulesrv:version": "5000-2",
				}),
				told: []string{triggered("day", "idle", "active", "5000")},
			},
			{
				name: "not in force any more", before: []step{stored(day), ingestHot, {"rule_schedule", "day", "5000", "4000", "9000"}}, key: "day", args: []string{"9000"}, reply: "idle",
				after: map[string]string{
					"rulesrv:rule:day": config + " windows=", "rulesrv:sequence": "3", "rulesrv:version": "9000-3", "rulesrv:standing": gone,
					"rulesrv:state:day": "fired=1 last_fired=5000 since=9000",
					"rulesrv:events":    fired("day", hotSeen("60.000000"))["rulesrv:events"] + "\n* rule=day from=active to=idle time=9000 values=" + hotSeen("60.000000"),
				},
				told: []string{triggered("day", "active", "idle", "9000")},
			},
			{name: "the same again", before: []step{stored(day), ingestHot, {"rule_schedule", "day", "5000", "4000", "9000"}}, key: "day", args: []string{"5000", "4000", "9000"}, reply: "active"},
			{name: "of a rule that is disabled", before: []step{stored(day), {"rule_enable", "day", "0", "2000"}, {"rule_schedule", "day", "3000", "4000", "9000"}}, key: "day", args: []string{"5000", "4000", "9000"}, reply: "disabled"},
			{name: "of no rule", before: []step{stored(day)}, key: "cold", args: []string{"5000"}, refused: "NOT_FOUND no rule 'cold'"},
			{name: "the wrong way round", before: []step{stored(day)}, key: "day", args: []string{"5000", "9000", "9000"}, refused: "INVALID from 9000 is not before till 9000"},
		},
	}
}

func ruleTriggerAction() contract {
	by := func(who, number string) string {
		return "* rule=hot from= to=triggered time=5000 by=" + who + " values=" + hotSeen(number)
	}
	// The journal and the command name who had it done. As the rule does not become
	// active, its alarm is one of a moment.
	hot := hotFired()
	cleared := "\n" + hotEntry("clear", "active_unacknowledged", "cleared_unacknowledged", "5000", "anna") + "carried out by hand"
	moment := without(hotAlarmCleared("5000"), "alarmsrv:alarms:active", "alarmsrv:order:active", "alarmsrv:order:standing")
	done := with(without(hot, "rulesrv:state:hot", "rulesrv:standing", "rulesrv:firings:hot", "alarmsrv:alarms:active", "alarmsrv:order:active", "alarmsrv:order:standing"), moment, map[string]string{
		"rulesrv:events":                      by("anna", "60.000000"),
		"alarmsrv:journal":                    hotEntry("raise", "", "active_unacknowledged", "5000", "anna") + cleared,
		"comsrv:1002:commands":                strings.Replace(hot["comsrv:1002:commands"], "rule:hot", "anna", 1),
		"comsrv:1002:command:rule-hot-3-5000": strings.Replace(hot["comsrv:1002:command:rule-hot-3-5000"], "rule:hot", "anna", 1),
	})
	raised := with(done, map[string]string{
		"rulesrv:events":         by("anna", "null"),
		"alarmsrv:alarm:1":       strings.Replace(hotAlarm("cleared_at=5000 ", "cleared_unacknowledged"), "value=60.000000 worst=60.000000", "value=", 1),
		"alarmsrv:journal":       strings.ReplaceAll(hotEntry("raise", "", "active_unacknowledged", "5000", "anna")+cleared, "60.000000", ""),
		"alarmsrv:notifications": strings.Replace(hot["alarmsrv:notifications"], "60.000000", "", 1),
	})
	told := []string{
		strings.Replace(hotFiredTold()[1], `"by":"rule:hot"`, `"by":"anna"`, 1),
		hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"anna","time":5000}`,
	}
	value := []step{upsertHot, {"HSET", "comsrv:1001:T", "1", "60.000000"}, {"HSET", "comsrv:1001:T:ts", "1", "5000"}}
	resolves := stored(`{"id":"calm","conditions":[` + above("comsrv:1001:T:1", "70") + `],"actions":[{"type":"resolve_alarm","params":{"rule":"hot"}}]}`)
	plain := stored(plainRule("hot", above("comsrv:1001:T:1", "55")))
	return contract{
		function: "rule_trigger_action", key: anID(), args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{name: "all of them", before: value, key: "hot", args: []string{"anna", "5000"}, reply: "3", after: done, told: told},
			{name: "all of them without a value", before: []step{upsertHot}, key: "hot", args: []string{"anna", "5000"}, reply: "3", after: raised, told: told},
			{name: "of a rule without actions", before: []step{plain}, key: "hot", args: []string{"ben", "5000"}, reply: "0", after: map[string]string{"rulesrv:events": by("ben", "null")}},
			{
				name: "one that clears an alarm", before: []step{upsertHot, ingestHot, resolves}, key: "calm", args: []string{"anna", "5000"}, reply: "1",
				after: with(hotAlarmCleared("5000"), map[string]string{
					"alarmsrv:journal": hotEntry("raise", "", "active_unacknowledged", "5000", "rule:hot") + "\n" +
						hotEntry("clear", "active_unacknowledged", "cleared_unacknowledged", "5000", "anna"),
					"rulesrv:events": hotMoved("idle", "active", "5000", "60.000000") + "\n* rule=calm from= to=triggered time=5000 by=anna values=" + hotSeen("60.000000"),
				}),
				told: []string{hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"anna","time":5000}`},
			},
			{
				name: "one that is disabled", before: []step{upsertHot, {"rule_enable", "hot", "0", "2000"}}, key: "hot", args: []string{"anna", "5000"},
				refused: "CONFLICT rule 'hot' is disabled: enable it first",
			},
			{name: "of no rule", before: []step{upsertHot}, key: "cold", args: []string{"anna", "5000"}, refused: "NOT_FOUND no rule 'cold'"},
		},
	}
}

func ruleUpdateState() contract {
	bad := step{"comsrv_mark", "1001", "bad", "6000"}
	return contract{
		function: "rule_update_state", key: anID(), args: []kind{oneOf("idle"), milliseconds()}, more: []kind{words(0, 100)}, most: 1,
		examples: []example{
			{
				name: "an active one whose input is lost", before: []step{upsertHot, ingestHot, bad}, key: "hot", args: []string{"idle", "7000"}, reply: "idle",
				after: with(because(hotCleared("7000", "null"), "rule:hot", "rule reset"), map[string]string{"rulesrv:state:hot": "fired=1 since=7000"}), told: hotClearedTold("7000"),
			},
			{name: "one that is idle", before: []step{upsertHot}, key: "hot", args: []string{"idle", "7000"}, reply: "idle"},
			{name: "none", before: []step{upsertHot}, key: "cold", args: []string{"idle", "7000"}, refused: "NOT_FOUND no rule 'cold'"},
			{
				name: "to active", before: []step{upsertHot}, key: "hot", args: []string{"active", "7000"},
				refused: "INVALID a rule can be set to idle alone, not 'active': what it is else follows from its conditions",
			},
		},
	}
}
