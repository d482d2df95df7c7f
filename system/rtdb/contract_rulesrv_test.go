package rtdb_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestContractOfRulesrv(t *testing.T) {
	t.Parallel()
	fulfil(t, rulesrvContracts())
}

func rulesrvContracts() []contract {
	return []contract{
		ruleUpsert(), ruleGet(), ruleList(), ruleDelete(), ruleEnable(), ruleEvaluate(), ruleBatchEvaluate(),
	}
}

// A value of 60 at 5000 ms, which makes the rule of the examples fire, and one of
// 50, which takes it back.
var (
	ingestHot  = step{"comsrv_ingest", "1001", "T", "5000", "default", "0", "1", "60.000000"}
	ingestCold = step{"comsrv_ingest", "1001", "T", "6000", "default", "0", "1", "50.000000"}
)

// plainRule does nothing but be active or idle.
func plainRule(id, conditions string) string {
	return `{"id":"` + id + `","conditions":[` + conditions + `]}`
}

func above(source string, limit string) string {
	return `{"source":"` + source + `","operator":">","value":` + limit + `}`
}

// hotBound is what is there once the rule is stored, version being the sequence.
func hotBound(config, now, version string) map[string]string {
	return map[string]string{
		"rulesrv:rule:hot": "config=" + config + " enabled=1 indexes=1001:T", "rulesrv:rules": "hot=0", "rulesrv:index:1001:T": "1=hot",
		"rulesrv:sequence": version, "rulesrv:version": now + "-" + version,
	}
}

// hotCleared is what is different once the rule that had fired is idle again.
func hotCleared(now string) map[string]string {
	return map[string]string{
		"rulesrv:standing": gone, "alarmsrv:open": gone, "alarmsrv:alarms:active": gone, "alarmsrv:alarms:active_by_time": gone,
		"alarmsrv:alarm:1": "cleared_at=" + now + " description= last_at=5000 level=Critical occurrences=1 raised_at=5000 rule=hot " +
			"source=comsrv:1001:T:1 state=cleared_unacknowledged title=Too hot value=60.000000",
		"alarmsrv:journal": strings.Replace(hotRaised, "1000", "5000", 1) +
			"\n* alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=" + now + " by=rule:hot",
	}
}

func hotClearedTold(now string) []string {
	return []string{
		hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"rule:hot","time":` + now + `}`,
		`rulesrv:triggered {"rule":"hot","status":"idle","time":` + now + `}`,
	}
}

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
				after: with(hotCleared("7000"), map[string]string{
					"rulesrv:rule:hot":     "config=" + moved + " enabled=0 indexes=1001:T 1003:S",
					"rulesrv:index:1003:S": "4=hot", "rulesrv:sequence": "3", "rulesrv:version": "7000-3", "rulesrv:state:hot": gone,
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
	condition := above("comsrv:1001:T:1", "55")
	rule := func(text string) string { return `{"id":"hot",` + text + `}` }
	action := func(text string) string { return rule(`"conditions":[` + condition + `],"actions":[` + text + `]`) }
	for _, bad := range [][2]string{
		{`{"id":"hot"`, "the rule is not a JSON object"},
		{`"hot"`, "the rule is not a JSON object"},
		{plainRule("cold", condition), "the rule calls itself 'cold' and the key 'hot'"},
		{plainRule("hot", above("comsrv:1001:T:1", "0x10")), "the rule is not JSON at '0x10'"},
		{plainRule("hot", above("comsrv:1001:T:1", "nan")), "the rule is not JSON at 'nan'"},
		{plainRule("hot", above("comsrv:1001:T:1", "1e400")), "the rule is not JSON at '1e400'"},
		{plainRule("hot", above("comsrv:1001:T:1", "-Infinity")), "the rule is not JSON at '-Infinity'"},
		{plainRule("hot", above("comsrv:1001:T:1", "1.")), "the rule is not JSON at '1.'"},
		{plainRule("hot", condition) + "\x00x", "the rule is not JSON at '?x'"},
		{rule(`"name":"a` + "\n" + `b","conditions":[` + condition + `]`), "the rule holds a control character"},
		{rule(`"name":5,"conditions":[` + condition + `]`), "name must be a string"},
		{rule(`"enabled":"no","conditions":[` + condition + `]`), "enabled must be a boolean"},
		{rule(`"logic":"XOR","conditions":[` + condition + `]`), "logic must be AND or OR"},
		{rule(`"conditions":[]`), "conditions must hold at least one condition"},
		{rule(`"conditions":{}`), "conditions and actions must be lists, params an object"},
		{rule(`"conditions":[` + condition + `],"actions":{}`), "conditions and actions must be lists, params an object"},
		{action(`{"type":"notify","params":[]}`), "conditions and actions must be lists, params an object"},
		{plainRule("hot", "null"), "conditions[0]. is not a condition"},
		{plainRule("hot", `{"conditions":[{"source":"x"}]}`), "conditions[0].conditions[0].source 'x' is not of the form comsrv:{channel}:{T|S|C|A}:{point}"},
		{plainRule("hot", above("comsrv:4294967296:T:1", "5")), "conditions[0].source 'comsrv:4294967296:T:1' is not of the form comsrv:{channel}:{T|S|C|A}:{point}"},
		{plainRule("hot", above("comsrv:1001:T:1", `"5"`)), "conditions[0].value must be a number"},
		{plainRule("hot", `{"source":"comsrv:1001:T:1","operator":"=>","value":5}`), "conditions[0].operator '=>' is unknown: use > >= < <= == or !="},
		{plainRule("hot", strings.Repeat(condition+",", 100)+condition), "conditions[100]. more than 100 conditions"},
		{plainRule("hot", strings.Repeat(`{"conditions":[`, 8)+condition+strings.Repeat(`]}`, 8)), strings.Repeat("conditions[0].", 8) + "conditions are nested deeper than 8"},
		{action(strings.TrimSuffix(strings.Repeat(`{"type":"notify","params":{"message":"x"}},`, 21), ",")), "actions must be a list of at most 20"},
		{action(`null`), "actions[0] is not an action"},
		{action(`{"type":"shout"}`), "actions[0].type 'shout' is unknown: use create_alarm, resolve_alarm, control or notify"},
		{action(`{"type":"notify"}`), "actions[0].params.message has 0 bytes: 1 to 2000 are allowed"},
		{action(`{"type":"notify","params":{"message":"\u0007"}}`), "actions[0].params.message holds a control character"},
		{action(`{"type":"create_alarm","params":{"level":"Awful","title":"x"}}`), "unknown alarm level 'Awful': use Critical, Major, Minor, Warning or Info"},
		{action(`{"type":"resolve_alarm","params":{"rule":"a:b"}}`), "actions[0].params.rule 'a:b': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"},
		{action(`{"type":"control","params":{"target":"comsrv:1:T:1","value":1}}`), "a point of type 'T' cannot be written: use C or A"},
		{action(`{"type":"control","params":{"target":"comsrv:1:A:1","value":"1"}}`), "actions[0].params.value must be a finite number"},
	} {
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
		function: "rule_delete", key: anID(), args: []kind{milliseconds()},
		examples: []example{
			{
				name: "an active one", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{"7000"}, reply: "OK",
				after: with(without, hotCleared("7000"), map[string]string{"rulesrv:state:hot": gone}), told: hotClearedTold("7000"),
			},
			{
				name: "whose alarm was acknowledged", before: []step{upsertHot, ingestHot, {"alarm_acknowledge", "1", "anna", "6000"}}, key: "hot", args: []string{"7000"}, reply: "OK",
				after: with(without, hotCleared("7000"), map[string]string{
					"rulesrv:state:hot": gone, "alarmsrv:alarms:closed_by_time": "1=7000",
					"alarmsrv:alarm:1": "acknowledged_at=6000 acknowledged_by=anna cleared_at=7000 description= last_at=5000 level=Critical occurrences=1 " +
						"raised_at=5000 rule=hot source=comsrv:1001:T:1 state=closed title=Too hot value=60.000000",
					"alarmsrv:journal": strings.Replace(hotRaised, "1000", "5000", 1) +
						"\n* alarm=1 from=active_unacknowledged to=active_acknowledged time=6000 by=anna" +
						"\n* alarm=1 from=active_acknowledged to=closed time=7000 by=rule:hot",
				}),
				told: []string{
					hotToldFrom + `active_acknowledged","state":"closed"` + hotTold + `"rule:hot","time":7000}`,
					`rulesrv:triggered {"rule":"hot","status":"idle","time":7000}`,
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
	disabled := "config=" + hotRule + " enabled=0 indexes=1001:T"
	off := step{"rule_enable", "hot", "0", "2000"}
	return contract{
		function: "rule_enable", key: anID(), args: []kind{oneOf("0", "1"), milliseconds()},
		examples: []example{
			{
				name: "off while it is active", before: []step{upsertHot, ingestHot}, key: "hot", args: []string{"0", "7000"}, reply: "OK",
				after: with(hotCleared("7000"), map[string]string{
					"rulesrv:rule:hot": disabled, "rulesrv:sequence": "2", "rulesrv:version": "7000-2", "rulesrv:state:hot": "fired=1 last_fired=5000 since=7000",
				}),
				told: hotClearedTold("7000"),
			},
			{
				name: "on while its condition holds", before: []step{upsertHot, off, ingestHot}, key: "hot", args: []string{"1", "5000"}, reply: "OK",
				after: with(hotFired(), map[string]string{
					"rulesrv:rule:hot": "config=" + hotRule + " enabled=1 indexes=1001:T", "rulesrv:sequence": "3", "rulesrv:version": "5000-3",
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

func ruleEvaluate() contract {
	// The value came in another way than by ingest, so that the rule has not seen it.
	hot := []step{upsertHot, {"HSET", "comsrv:1001:T", "1", "60.000000"}, {"HSET", "comsrv:1001:T:ts", "1", "5000"}}
	and := func(more ...step) []step { return append(append([]step{}, hot...), more...) }
	fresh := step{"HSET", "comsrv:1001:status", "group:default", "5000"}
	stale := step{"HSET", "comsrv:1001:T:ts", "1", "1"}
	idle := with(hotCleared("5000"), map[string]string{"rulesrv:state:hot": "fired=1 last_fired=5000 since=5000"})
	delete(idle, "rulesrv:state:hot") // since is what it was
	full := with(hotFired(), map[string]string{"rulesrv:counters": "actions_dropped=1"})
	delete(full, "rulesrv:actions")
	refused := with(hotFired(), map[string]string{
		"rulesrv:actions": "* rule=hot type=notify message=call somebody time=5000\n" +
			"* rule=hot type=notify message=control of comsrv:1002:A:2 was not queued: too many commands wait time=5000",
	})
	delete(refused, "comsrv:1002:commands")
	delete(refused, "comsrv:1002:command:rule-hot-3-5000")
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
	add(example{name: "too many commands wait", before: and(step{"FILL", "comsrv:1002:commands", "1000"}), reply: "active", after: refused, told: hotFiredTold()})
	add(example{
		name: "clears the alarm of another rule", before: []step{upsertHot, ingestHot, calm, {"HSET", "comsrv:1001:T", "1", "80"}}, key: "calm", reply: "active",
		after: with(hotCleared("5000"), map[string]string{"rulesrv:state:calm": "fired=1 last_fired=5000 since=5000", "rulesrv:standing": "calm=active hot=active"}),
		told:  []string{hotClearedTold("5000")[0], `rulesrv:triggered {"rule":"calm","status":"active","time":5000}`},
	})
	add(example{name: "disabled", before: and(step{"rule_enable", "hot", "0", "2000"}), reply: "disabled"})
	add(example{name: "none", before: hot, key: "cold", refused: "NOT_FOUND no rule 'cold'"})
	return c
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
