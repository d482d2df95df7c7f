package rtdb_test

import (
	"strings"
	"testing"
)

func TestContractOfRulesrv(t *testing.T) {
	t.Parallel()
	fulfil(t, rulesrvContracts())
}

func rulesrvContracts() []contract {
	return []contract{
		ruleUpsert(), ruleGet(), ruleList(), ruleDelete(), ruleEnable(),
		ruleEvaluate(), ruleBatchEvaluate(), ruleTick(), ruleSchedule(), ruleTriggerAction(), ruleUpdateState(),
		ruleSetValue(), ruleValues(), ruleFirings(), ruleTestGiven(), ruleTestLive(),
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
		"rulesrv:rule:hot": "config=" + config + " enabled=1 sources=comsrv:1001:T:1", "rulesrv:rules": "hot=0", "rulesrv:index:1001:T": "1=hot",
		"rulesrv:sequence": version, "rulesrv:version": now + "-" + version,
	}
}

// hotCleared is what is different once the rule that had fired is idle again, on a
// number or, where it was taken back by hand, null.
func hotCleared(now, number string) map[string]string {
	return with(hotAlarmCleared(now), map[string]string{
		"rulesrv:standing": gone, "rulesrv:state:hot": "fired=1 last_fired=5000 since=" + now,
		"rulesrv:events": hotMoved("idle", "active", "5000", "60.000000") + "\n" + hotMoved("active", "idle", now, number),
	})
}

func hotAlarmCleared(now string) map[string]string {
	return map[string]string{
		"alarmsrv:alarm:1": hotAlarm("cleared_at="+now+" ", "cleared_unacknowledged"), "alarmsrv:alarms:active": gone, "alarmsrv:order:active": gone, "alarmsrv:order:standing": gone,
		"alarmsrv:counts": "active_unacknowledged:Critical=0 cleared_unacknowledged:Critical=1",
		"alarmsrv:journal": hotEntry("raise", "", "active_unacknowledged", "5000", "rule:hot") + "\n" +
			hotEntry("clear", "active_unacknowledged", "cleared_unacknowledged", now, "rule:hot"),
	}
}

// because says in the journal why the alarm of a rule cleared, and by whom where
// that was not the rule.
func because(keys map[string]string, by, why string) map[string]string {
	lines := strings.Split(keys["alarmsrv:journal"], "\n")
	last := len(lines) - 1
	lines[last] = strings.Replace(lines[last], "by=rule:hot", "by="+by, 1) + why
	return with(keys, map[string]string{"alarmsrv:journal": strings.Join(lines, "\n")})
}

func hotClearedTold(now string) []string {
	return []string{
		triggered("hot", "active", "idle", now),
		hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"rule:hot","time":` + now + `}`,
	}
}
