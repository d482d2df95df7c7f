package rtdb_test

import "strconv"

func ruleSetValue() contract {
	follows := stored(plainRule("follows", above("custom:x", "3")))
	crowd := step{"HSET", "rulesrv:custom"}
	for i := range 10000 {
		crowd = append(crowd, strconv.Itoa(i), "1")
	}
	return contract{
		function: "rule_set_value", key: anID(), args: []kind{decimal(), milliseconds()},
		examples: []example{
			{name: "that nobody watches", key: "x", args: []string{"5.5", "5000"}, reply: "0", after: map[string]string{"rulesrv:custom": "x=5.5"}},
			{
				name: "that a rule watches", before: []step{follows}, key: "x", args: []string{"5", "5000"}, reply: "1",
				after: with(fired("follows", `{"custom:x":"5.000000"}`), map[string]string{"rulesrv:custom": "x=5"}),
				told:  []string{triggered("follows", "idle", "active", "5000")},
			},
			{
				name: "one more than fit", key: "x", args: []string{"5", "5000"}, refused: "FULL a site has at most 10000 custom values",
				before: []step{crowd},
			},
		},
	}
}

func ruleValues() contract {
	return contract{
		function: "rule_values", key: anyName(),
		examples: []example{
			{
				name: "in the order of their names", before: []step{{"rule_set_value", "x", "5", "1"}, {"rule_set_value", "a", "-1.5", "1"}}, key: "all",
				reply: list("a", "-1.5", "x", "5"),
			},
			{name: "none", key: "all", reply: list()},
		},
	}
}

func ruleFirings() contract {
	twice := []step{upsertHot, ingestHot, ingestCold, {"comsrv_ingest", "1001", "T", "7000", "default", "0", "1", "61"}}
	newest := `{"time":7000,"values":` + hotSeen("61.000000") + `}`
	return contract{
		function: "rule_firings", key: anID(), args: []kind{whole(1, 20)},
		examples: []example{
			{name: "the newest first", before: twice, key: "hot", args: []string{"20"}, reply: list(newest, `{"time":5000,"values":`+hotSeen("60.000000")+`}`)},
			{name: "the newest alone", before: twice, key: "hot", args: []string{"1"}, reply: list(newest)},
			{name: "of no rule", before: twice, key: "cold", args: []string{"1"}, reply: list()},
		},
	}
}

// handedActive is what is handed over of a rule that fired on 60 at 5000 ms.
const handedActive = "\x97\xa6active\xcd\x13\x88\xcd\x13\x88\xcd\x13\x88\xcd\x13\x88\x81\xa81001:T:1<\x90"

// handedOver is empty at the beginning; what it is later, only the function knows.
func handedOver() kind { return oneOf("") }

func ruleSource() kind {
	return matching("a source", `comsrv:[1-9][0-9]{0,8}:[TSCA]:[1-9][0-9]{0,8}|modsrv:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}|custom:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`)
}

func ruleTestGiven() contract {
	rule := plainRule("hot", above("comsrv:1001:T:1", "55"))
	slow := `{"id":"hot","on_delay":"10s","conditions":[` + above("comsrv:1001:T:1", "55") + `]}`
	const point = "comsrv:1001:T:1"
	c := contract{
		function: "rule_test", key: anID(), args: []kind{document(rule), handedOver(), oneOf("given")}, more: []kind{milliseconds(), ruleSource(), optional(decimal())}, least: 1, most: 1000,
		examples: []example{
			{
				name: "fires", key: "hot", args: []string{rule, "", "given", "5000", point, "60"},
				reply: list(handedActive, "5000", "idle", "active", hotSeen("60.000000")),
			},
			{
				name: "a delay ends between two values", key: "hot", args: []string{slow, "", "given", "5000", point, "60", "20000", point, "61"},
				reply: list("\x97\xa6active\xcd:\x98\xcdN \xcdN \xcd:\x98\x81\xa81001:T:1=\x90", "5000", "idle", "pending", hotSeen("60.000000"), "15000", "pending", "active", hotSeen("60.000000")),
			},
			{
				name: "over a model", before: []step{{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1001,"data":{"temp":1}}}`}}, key: "hot",
				args: []string{plainRule("hot", above("modsrv:m2:temp", "55")), "", "given", "5000", point, "60"}, reply: list(handedActive, "5000", "idle", "active", `{"modsrv:m2:temp":"60.000000"}`),
			},
			{
				name: "goes on where the call before ended", key: "hot", args: []string{rule, handedActive, "given", "6000", point, ""}, reply: list(
					"\x97\xa6active\xcd\x13\x88\xcd\x17p\xcd\x17p\xcd\x13\x88\x81\xa81001:T:1\xc2\x90"),
			},
			{
				name: "not in the order of time", key: "hot", args: []string{rule, "", "given", "5000", point, "60", "4000", point, "60"},
				refused: "INVALID time 4000 is before the one ahead of it",
			},
			{
				name: "with something else handed over", key: "hot", args: []string{rule, "\x91\x05", "given", "5000", point, "60"},
				refused: "INVALID what was handed over is not what a test replied",
			},
			{
				name: "when no window is one", key: "hot", args: []string{`{"id":"hot","windows":[[1]],"conditions":[` + above(point, "55") + `]}`, "", "given", "5000", point, "60"},
				refused: "INVALID windows[0] must be two times",
			},
			{
				name: "of a rule that could not be stored", key: "hot", args: []string{plainRule("hot", above(point, `"5"`)), "", "given", "5000", point, "60"},
				refused: "INVALID conditions[0].value must be a finite number",
			},
		},
	}
	return c
}

func ruleTestLive() contract {
	rule := plainRule("hot", above("comsrv:1001:T:1", "55"))
	both := plainRule("hot", above("comsrv:1001:T:1", "55")+","+above("custom:x", "3")+","+above("modsrv:m2:twice", "100"))
	model := step{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1001,"data":{"temp":1}},"computed":[{"name":"twice","expression":"2 * temp"}]}`}
	slow := step{"comsrv_ingest", "1001", "T", "5000", "slow", "1", "2", "4", "uncertain", "1", "60"}
	return contract{
		function: "rule_test", key: anID(), args: []kind{document(rule), anyText(), oneOf("live"), milliseconds()},
		examples: []example{
			{name: "holds", before: []step{ingestHot}, key: "hot", args: []string{rule, "", "live", "6000"}, reply: list("", "6000", "idle", "true", hotSeen("60.000000"))},
			{name: "does not hold", before: []step{ingestCold}, key: "hot", args: []string{rule, "", "live", "6000"}, reply: list("", "6000", "idle", "false", hotSeen("50.000000"))},
			{name: "an old value", before: []step{ingestHot}, key: "hot", args: []string{rule, "", "live", "15001"}, reply: list("", "15001", "idle", "unknown", hotSeen("null"))},
			{
				name: "a value of a poll group, a custom and a computed one", before: []step{model, slow, {"rule_set_value", "x", "5", "1"}}, key: "hot", args: []string{both, "", "live", "6000"},
				reply: list("", "6000", "idle", "true", `{"comsrv:1001:T:1":"60.000000","custom:x":"5.000000","modsrv:m2:twice":"120.000000"}`),
			},
			{name: "no kind of test", key: "hot", args: []string{rule, "", "dead", "6000"}, refused: "INVALID unknown kind of test 'dead': use live or given"},
		},
	}
}
