package rtdb_test

import (
	"fmt"
	"strconv"
	"strings"
)

func ruleUpsert() contract {
	moved := `{"id":"hot","enabled":false,"logic":"OR","conditions":[` + above("comsrv:1003:S:4", "0") + `,{"logic":"AND","conditions":[` + above("comsrv:1001:T:1", "1e2") + `]}]}`
	c := contract{
		function: "rule_upsert", key: oneOf("hot"), // the rule itself says that this is its id
		args: []kind{document(hotRule), milliseconds()},
		examples: []example{
			{name: "a new one", key: "hot", args: []string{hotRule, "1000"}, reply: "OK", after: hotBound(hotRule, "1000", "1")},
			{
				name: "whose condition holds already", before: []step{ingestHot}, key: "hot", args: []string{hotRule, "5000"}, reply: "OK",
				after: with(hotBound(hotRule, "5000", "1"), hotFired()), told: hotFiredTold(),
			},
			{name: "the same while it is active", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{hotRule, "7000"}, reply: "OK"},
			{
				name: "the same when it was disabled stays so", before: []step{upsertHot, {"rule_enable", "hot", "0", "2000"}, ingestHot},
				key: "hot", args: []string{hotRule, "7000"}, reply: "OK",
			},
			{
				name: "another one while it is active", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{moved, "7000"}, reply: "OK",
				after: with(because(hotCleared("7000", "null"), "rule:hot", "rule replaced"), map[string]string{
					"rulesrv:rule:hot":     "config=" + moved + " enabled=0 sources=comsrv:1003:S:4 comsrv:1001:T:1",
					"rulesrv:index:1003:S": "4=hot", "rulesrv:sequence": "3", "rulesrv:version": "7000-3", "rulesrv:state:hot": gone, "rulesrv:firings:hot": gone,
				}),
				told: hotClearedTold("7000"),
			},
			{
				name: "beside another one of the same point", before: []step{{"rule_upsert", "dry", plainRule("dry", above("comsrv:1001:T:1", "3")), "1000"}},
				key: "hot", args: []string{hotRule, "2000"}, reply: "OK",
				after: with(hotBound(hotRule, "2000", "2"), map[string]string{"rulesrv:rules": "dry=0 hot=0", "rulesrv:index:1001:T": "1=dry hot"}),
			},
		},
	}
	// What the rule sets is watched by another one, which sets what the rule watches.
	asks := `{"id":"hot","conditions":[` + above("custom:a", "1") + `],"actions":[{"type":"set_value","params":{"name":"b","value":1}}]}`
	answers := step{"rule_upsert", "answers", `{"id":"answers","conditions":[` + above("custom:b", "0") + `],"actions":[{"type":"set_value","params":{"name":"a","value":2}}]}`, "1000"}
	own := `{"id":"hot","conditions":[` + above("modsrv:m2:temp", "1") + `],"actions":[{"type":"control","params":{"target":"comsrv:1002:C:1","value":1}}]}`
	mapped := step{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1002,"data":{"temp":"C:1"}}}`}
	crowd := step{"ZADD", "rulesrv:rules"}
	for i := range 20000 {
		crowd = append(crowd, "0", strconv.Itoa(i))
	}
	c.examples = append(c.examples,
		example{
			name: "a loop over another rule", before: []step{answers}, key: "hot", args: []string{asks, "7000"},
			refused: "CONFLICT rules would set off one another without end: hot -> answers -> hot",
		},
		example{
			name: "a loop through a model", before: []step{mapped}, key: "hot", args: []string{own, "7000"},
			refused: "CONFLICT rules would set off one another without end: hot -> hot",
		},
		example{
			name: "a full site", before: []step{crowd},
			key: "hot", args: []string{hotRule, "7000"}, refused: "FULL a site has at most 20000 rules",
		},
	)
	for _, word := range []string{"events", "export", "import", "reload", "test"} {
		c.examples = append(c.examples, example{
			name: "an id of the API", before: []step{upsertHot}, key: word, args: []string{plainRule(word, above("comsrv:1001:T:1", "55")), "7000"},
			refused: "INVALID rule id '" + word + "' is a word of the API, /api/rules/" + word + ": take another",
		})
	}
	for _, bad := range badRules() {
		c.examples = append(c.examples, example{
			name: fmt.Sprintf("%.100q", bad[0]), before: []step{upsertHot, ingestHot}, key: "hot", args: []string{bad[0], "7000"}, refused: "INVALID " + bad[1],
		})
	}
	return c
}

func ruleGet() contract {
	return contract{
		function: "rule_get", key: anID(),
		examples: []example{
			{name: "active", before: []step{upsertHot, ingestHot}, key: "hot", reply: list(hotRule, "active", "5000", "1", "5000")},
			{name: "never fired", before: []step{upsertHot}, key: "hot", reply: list(hotRule, "idle", "0", "0", "0")},
			{name: "idle again", before: []step{upsertHot, ingestHot, ingestCold}, key: "hot", reply: list(hotRule, "idle", "6000", "1", "5000")},
			{name: "disabled", before: []step{upsertHot, {"rule_enable", "hot", "0", "2000"}}, key: "hot", reply: list(hotRule, "disabled", "0", "0", "0")},
			{name: "none", before: []step{upsertHot}, key: "cold", refused: "NOT_FOUND no rule 'cold'"},
		},
	}
}

func ruleList() contract {
	dry, wet := plainRule("dry", above("comsrv:1:T:1", "3")), plainRule("wet", above("comsrv:1:T:1", "3"))
	three := []step{{"rule_upsert", "wet", wet, "1000"}, upsertHot, {"rule_upsert", "dry", dry, "1000"}, ingestHot}
	return contract{
		function: "rule_list", key: anyName(), args: []kind{optional(anID()), whole(1, 1000)},
		examples: []example{
			{
				name: "the first page", before: three, key: "all", args: []string{"", "2"},
				reply: list(dry, "idle", "0", "0", "0", hotRule, "active", "5000", "1", "5000"),
			},
			{name: "the page after an id", before: three, key: "all", args: []string{"hot", "2"}, reply: list(wet, "idle", "0", "0", "0")},
			{
				name: "beyond ids without a rule", before: append([]step{{"ZADD", "rulesrv:rules", "0", "a", "0", "b", "0", "i"}}, three...), key: "all", args: []string{"", "2"},
				reply: list(dry, "idle", "0", "0", "0", hotRule, "active", "5000", "1", "5000"),
			},
			{name: "after one that is gone", before: three, key: "all", args: []string{"x", "2"}, reply: list()},
		},
	}
}

func ruleDelete() contract {
	without := map[string]string{
		"rulesrv:rule:hot": gone, "rulesrv:rules": gone, "rulesrv:index:1001:T": gone, "rulesrv:sequence": "2", "rulesrv:version": "7000-2",
	}
	dry := step{"rule_upsert", "dry", plainRule("dry", above("comsrv:1001:T:1", "70")+","+above("comsrv:1001:T:2", "3")), "1000"}
	return contract{
		function: "rule_delete", key: anID(), args: []kind{milliseconds()}, more: []kind{words(0, 100)}, most: 1,
		examples: []example{
			{
				name: "an active one", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{"7000"}, reply: "OK",
				after: with(without, because(hotCleared("7000", "null"), "rule:hot", "rule deleted"), map[string]string{"rulesrv:state:hot": gone, "rulesrv:firings:hot": gone}), told: hotClearedTold("7000"),
			},
			{
				name: "whose alarm was acknowledged", before: []step{upsertHot, ingestHot, {"alarm_acknowledge", "1", "1", "anna", "6000"}}, key: "hot", args: []string{"7000"}, reply: "OK",
				after: with(without, hotCleared("7000", "null"), map[string]string{
					"rulesrv:state:hot": gone, "rulesrv:firings:hot": gone,
					"alarmsrv:alarm:1":    hotAlarm("acknowledged_at=6000 acknowledged_by=anna cleared_at=7000 ", "closed"),
					"alarmsrv:order:open": gone, "alarmsrv:order:level:Critical": gone, "alarmsrv:order:closed": "1=7000",
					"alarmsrv:counts": "active_acknowledged:Critical=0 active_unacknowledged:Critical=0 closed:Critical=1",
					"alarmsrv:journal": hotEntry("raise", "", "active_unacknowledged", "5000", "rule:hot") + "\n" +
						hotEntry("acknowledge", "active_unacknowledged", "active_acknowledged", "6000", "anna") + "\n" +
						hotEntry("clear", "active_acknowledged", "closed", "7000", "rule:hot") + "rule deleted",
				}),
				told: []string{
					triggered("hot", "active", "idle", "7000"),
					hotToldFrom + `active_acknowledged","state":"closed"` + hotTold + `"rule:hot","time":7000}`,
				},
			},
			{
				name: "beside another one of the same point", before: []step{upsertHot, dry}, key: "hot", args: []string{"7000"}, reply: "OK",
				after: with(without, map[string]string{
					"rulesrv:rules": "dry=0", "rulesrv:index:1001:T": "1=dry 2=dry", "rulesrv:sequence": "3", "rulesrv:version": "7000-3",
				}),
			},
			{name: "none", before: []step{upsertHot}, key: "cold", args: []string{"7000"}, refused: "NOT_FOUND no rule 'cold'"},
		},
	}
}

func ruleEnable() contract {
	disabled := "config=" + hotRule + " enabled=0 sources=comsrv:1001:T:1"
	off := step{"rule_enable", "hot", "0", "2000"}
	return contract{
		function: "rule_enable", key: anID(), args: []kind{oneOf("0", "1"), milliseconds()}, more: []kind{words(0, 100)}, most: 1,
		examples: []example{
			{
				name: "off while it is active", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{"0", "7000"}, reply: "OK",
				after: with(because(hotCleared("7000", "null"), "rule:hot", "rule disabled"), map[string]string{
					"rulesrv:rule:hot": disabled, "rulesrv:sequence": "2", "rulesrv:version": "7000-2",
				}),
				told: hotClearedTold("7000"),
			},
			{
				name: "off by somebody", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{"0", "7000", "anna"}, reply: "OK",
				after: with(because(hotCleared("7000", "null"), "anna", "rule disabled"), map[string]string{
					"rulesrv:rule:hot": disabled, "rulesrv:sequence": "2", "rulesrv:version": "7000-2",
				}),
				told: []string{hotClearedTold("7000")[0], strings.Replace(hotClearedTold("7000")[1], "rule:hot", "anna", 1)},
			},
			{
				name: "on while its condition holds", before: []step{upsertHot, off, ingestHot}, key: "hot", args: []string{"1", "5000"}, reply: "OK",
				after: with(hotFired(), map[string]string{
					"rulesrv:rule:hot": "config=" + hotRule + " enabled=1 sources=comsrv:1001:T:1", "rulesrv:sequence": "3", "rulesrv:version": "5000-3",
				}),
				told: hotFiredTold(),
			},
			{
				name: "on and on again", before: []step{upsertHot}, key: "hot", args: []string{"1", "5000"}, reply: "OK",
				after: map[string]string{"rulesrv:sequence": "2", "rulesrv:version": "5000-2"},
			},
			{name: "none", before: []step{upsertHot}, key: "cold", args: []string{"1", "5000"}, refused: "NOT_FOUND no rule 'cold'"},
		},
	}
}
