package rtdb_test

import (
	"slices"
	"strings"
	"testing"
)

func TestContractOfAlarmsrv(t *testing.T) {
	t.Parallel()
	fulfil(t, alarmsrvContracts())
}

// Two alarms: the first one of a rule, the second one raised by hand.
var (
	raiseHot  = step{"alarm_store", "new", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "1000"}
	raiseLeak = step{"alarm_store", "new", "pump-1", "", "Minor", "Leak", "", "2000"}
)

const (
	hotAlarm    = "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value="
	hotOpen     = "hot|comsrv:1001:T:1=1"
	hotSource   = "alarmsrv:alarms:by_source:comsrv:1001:T:1"
	hotRaised   = "* alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot"
	hotToldFrom = `alarmsrv:new {"id":"1","from":"`
	hotTold     = `,"level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":`
)

// hotRow is what is told about the first alarm.
func hotRow() []any {
	return []any{"1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "", "1", "1000", "1000", "", "", ""}
}

func alarmsrvContracts() []contract {
	return []contract{
		alarmStore(), alarmGet(), alarmAcknowledge(), alarmResolve(), alarmCleanup(),
		alarmLists("alarm_list", "cleared_unacknowledged", "2500"), alarmLists("alarm_list_active"),
	}
}

func alarmSource() kind {
	return matching("what an alarm is about", `[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}`)
}

func alarmLevel() kind { return oneOf("Critical", "Major", "Minor", "Warning", "Info") }

func alarmStore() contract {
	return contract{
		function: "alarm_store", key: anyName(),
		args: []kind{alarmSource(), optional(anID()), alarmLevel(), words(1, 200), words(0, 2000), milliseconds()},
		examples: []example{
			{
				name: "a new alarm of a rule", key: "new", args: raiseHot[2:], reply: "1",
				after: map[string]string{
					"alarmsrv:alarm:1": hotAlarm, "alarmsrv:sequence": "1", "alarmsrv:open": hotOpen,
					"alarmsrv:alarms:active": "1", "alarmsrv:alarms:active_by_time": "1=1000", "alarmsrv:alarms:by_time": "1=1000",
					"alarmsrv:alarms:by_level:Critical": "1", hotSource: "1", "alarmsrv:journal": hotRaised,
				},
				told: []string{hotToldFrom + `","state":"active_unacknowledged"` + hotTold + `"rule:hot","time":1000}`},
			},
			{
				name: "another one by hand", before: []step{raiseHot}, key: "new", args: raiseLeak[2:], reply: "2",
				after: map[string]string{
					"alarmsrv:alarm:2":  "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value=",
					"alarmsrv:sequence": "2", "alarmsrv:open": hotOpen + " |pump-1=2",
					"alarmsrv:alarms:active": "1 2", "alarmsrv:alarms:active_by_time": "1=1000 2=2000", "alarmsrv:alarms:by_time": "1=1000 2=2000",
					"alarmsrv:alarms:by_level:Minor": "2", "alarmsrv:alarms:by_source:pump-1": "2",
					"alarmsrv:journal": hotRaised + "\n* alarm=2 from= to=active_unacknowledged time=2000 by=operator",
				},
				told: []string{`alarmsrv:new {"id":"2","from":"","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"operator","time":2000}`},
			},
			{
				name: "the same while it is active", before: []step{raiseHot}, key: "new",
				args: []string{"comsrv:1001:T:1", "hot", "Info", "Still hot", "", "3000"}, reply: "1",
				after: map[string]string{
					"alarmsrv:alarm:1": strings.NewReplacer("last_at=1000", "last_at=3000", "occurrences=1", "occurrences=2").Replace(hotAlarm),
				},
			},
			{
				name: "the same after it was cleared is a new occurrence", before: []step{raiseHot, {"alarm_resolve", "1", "anna", "2000"}},
				key: "new", args: []string{"comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "3000"}, reply: "2",
				after: map[string]string{
					"alarmsrv:alarm:2": strings.ReplaceAll(hotAlarm, "1000", "3000"), "alarmsrv:sequence": "2", "alarmsrv:open": "hot|comsrv:1001:T:1=2",
					"alarmsrv:alarms:active": "2", "alarmsrv:alarms:active_by_time": "2=3000", "alarmsrv:alarms:by_time": "1=1000 2=3000",
					"alarmsrv:alarms:by_level:Critical": "1 2", hotSource: "1 2",
					"alarmsrv:journal": hotRaised + "\n* alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=2000 by=anna" +
						"\n* alarm=2 from= to=active_unacknowledged time=3000 by=rule:hot",
				},
				told: []string{`alarmsrv:new {"id":"2","from":"","state":"active_unacknowledged"` + hotTold + `"rule:hot","time":3000}`},
			},
		},
	}
}

func alarmGet() contract {
	return contract{
		function: "alarm_get", key: anID(),
		examples: []example{
			{name: "as raised", before: []step{raiseHot}, key: "1", reply: hotRow()},
			{
				name: "as closed", before: []step{raiseHot, {"alarm_acknowledge", "1", "anna", "2000"}, {"alarm_resolve", "1", "ben", "3000"}}, key: "1",
				reply: list("1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "closed", "", "1", "1000", "1000", "3000", "2000", "anna"),
			},
			{name: "none", before: []step{raiseHot}, key: "2", refused: "NOT_FOUND no alarm '2'"},
		},
	}
}

func alarmAcknowledge() contract {
	const closed = "* alarm=1 from=cleared_unacknowledged to=closed time=4000 by=anna"
	return contract{
		function: "alarm_acknowledge", key: anID(), args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "while active", before: []step{raiseHot}, key: "1", args: []string{"anna", "4000"}, reply: "active_acknowledged",
				after: map[string]string{
					"alarmsrv:alarm:1": "acknowledged_at=4000 acknowledged_by=anna " + strings.Replace(hotAlarm, "active_unacknowledged", "active_acknowledged", 1),
					"alarmsrv:journal": hotRaised + "\n* alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna",
				},
				told: []string{hotToldFrom + `active_unacknowledged","state":"active_acknowledged"` + hotTold + `"anna","time":4000}`},
			},
			{
				name: "after it cleared", before: []step{raiseHot, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"anna", "4000"}, reply: "closed",
				after: map[string]string{
					"alarmsrv:alarm:1":               "acknowledged_at=4000 acknowledged_by=anna cleared_at=3000 " + strings.Replace(hotAlarm, "active_unacknowledged", "closed", 1),
					"alarmsrv:alarms:closed_by_time": "1=4000",
					"alarmsrv:journal":               hotRaised + "\n* alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=3000 by=ben\n" + closed,
				},
				told: []string{hotToldFrom + `cleared_unacknowledged","state":"closed"` + hotTold + `"anna","time":4000}`},
			},
			{
				name: "twice", before: []step{raiseHot, {"alarm_acknowledge", "1", "ben", "3000"}}, key: "1", args: []string{"anna", "4000"},
				refused: "CONFLICT alarm '1' is active_acknowledged: there is nothing to acknowledge",
			},
			{
				name: "a closed one", before: []step{raiseHot, {"alarm_acknowledge", "1", "ben", "2000"}, {"alarm_resolve", "1", "ben", "3000"}},
				key: "1", args: []string{"anna", "4000"}, refused: "CONFLICT alarm '1' is closed: there is nothing to acknowledge",
			},
			{name: "none", key: "1", args: []string{"anna", "4000"}, refused: "NOT_FOUND no alarm '1'"},
		},
	}
}

func alarmResolve() contract {
	return contract{
		function: "alarm_resolve", key: anID(), args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "one that nobody has seen", before: []step{raiseHot}, key: "1", args: []string{"ben", "5000"}, reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "cleared_at=5000 " + strings.Replace(hotAlarm, "active_unacknowledged", "cleared_unacknowledged", 1),
					"alarmsrv:open":    gone, "alarmsrv:alarms:active": gone, "alarmsrv:alarms:active_by_time": gone,
					"alarmsrv:journal": hotRaised + "\n* alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=5000 by=ben",
				},
				told: []string{hotToldFrom + `active_unacknowledged","state":"cleared_unacknowledged"` + hotTold + `"ben","time":5000}`},
			},
			{
				name: "one that was acknowledged", before: []step{raiseHot, raiseLeak, {"alarm_acknowledge", "1", "anna", "4000"}}, key: "1", args: []string{"ben", "5000"}, reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "acknowledged_at=4000 acknowledged_by=anna cleared_at=5000 " + strings.Replace(hotAlarm, "active_unacknowledged", "closed", 1),
					"alarmsrv:open":    "|pump-1=2", "alarmsrv:alarms:active": "2", "alarmsrv:alarms:active_by_time": "2=2000", "alarmsrv:alarms:closed_by_time": "1=5000",
					"alarmsrv:journal": hotRaised + "\n* alarm=2 from= to=active_unacknowledged time=2000 by=operator" +
						"\n* alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna\n* alarm=1 from=active_acknowledged to=closed time=5000 by=ben",
				},
				told: []string{hotToldFrom + `active_acknowledged","state":"closed"` + hotTold + `"ben","time":5000}`},
			},
			{
				name: "one that has cleared", before: []step{raiseHot, {"alarm_resolve", "1", "anna", "4000"}}, key: "1", args: []string{"ben", "5000"},
				refused: "CONFLICT alarm '1' is not active",
			},
			{name: "none", key: "1", args: []string{"ben", "5000"}, refused: "NOT_FOUND no alarm '1'"},
		},
	}
}

// closedAlarm are the steps that leave a closed alarm of one source behind.
func closedAlarm(id, source, at string) []step {
	return []step{
		{"alarm_store", "new", source, "", "Info", "T", "", "10"}, {"alarm_acknowledge", id, "anna", "20"}, {"alarm_resolve", id, "anna", at},
	}
}

func alarmCleanup() contract {
	var three []step
	for _, one := range [][]step{closedAlarm("1", "a", "1000"), closedAlarm("2", "b", "2000"), closedAlarm("3", "b", "3000"), {raiseHot}} {
		three = append(three, one...)
	}
	without1 := map[string]string{
		"alarmsrv:alarm:1": gone, "alarmsrv:alarms:by_source:a": gone, "alarmsrv:alarms:by_level:Info": "2 3",
		"alarmsrv:alarms:by_time": "2=10 3=10 4=1000", "alarmsrv:alarms:closed_by_time": "2=2000 3=3000",
	}
	without12 := map[string]string{
		"alarmsrv:alarm:1": gone, "alarmsrv:alarm:2": gone, "alarmsrv:alarms:by_source:a": gone, "alarmsrv:alarms:by_source:b": "3",
		"alarmsrv:alarms:by_level:Info": "3", "alarmsrv:alarms:by_time": "3=10 4=1000", "alarmsrv:alarms:closed_by_time": "3=3000",
	}
	return contract{
		function: "alarm_cleanup", key: anyName(), args: []kind{milliseconds(), milliseconds(), whole(0, 9999999), whole(1, 1000)},
		examples: []example{
			{name: "by age", before: three, key: "all", args: []string{"9000", "2000", "100", "500"}, reply: "1", after: without1},
			{name: "by number", before: three, key: "all", args: []string{"9000", "0", "1", "500"}, reply: "2", after: without12},
			{name: "no more than asked for", before: three, key: "all", args: []string{"9000", "4000", "0", "2"}, reply: "2", after: without12},
			{name: "by number and no more than asked for", before: three, key: "all", args: []string{"9000", "0", "0", "1"}, reply: "1", after: without1},
			{name: "open ones stay", before: []step{raiseHot, raiseLeak}, key: "all", args: []string{"9000", "9000", "0", "500"}, reply: "0"},
		},
	}
}

// alarmLists is the contract of both lists. Of three alarms the second one has
// cleared: the texts, if any, are what it shows of that where it is listed.
func alarmLists(function string, cleared ...any) contract {
	before := []step{
		raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"},
	}
	wet := []any{"3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", ""}
	var leak []any
	if len(cleared) > 0 {
		leak = []any{"2", "pump-1", "", "Minor", "Leak", "", cleared[0], "", "1", "2000", "2000", cleared[1], "", ""}
	}
	rows := slices.Concat(wet, leak, hotRow())
	return contract{
		function: function, key: anyName(), args: []kind{optional(alarmLevel()), optional(alarmSource()), whole(1, 1000)},
		examples: []example{
			{name: "all", before: before, key: "all", args: []string{"", "", "1000"}, reply: rows},
			{name: "the newest", before: before, key: "all", args: []string{"", "", "2"}, reply: rows[:2*len(wet)]},
			{name: "of a level", before: before, key: "all", args: []string{"Minor", "", "10"}, reply: slices.Concat(wet, leak)},
			{name: "of a source", before: before, key: "all", args: []string{"", "comsrv:1001:T:1", "10"}, reply: hotRow()},
			{name: "of both, the newest", before: before, key: "all", args: []string{"Minor", "pump-1", "1"}, reply: wet},
			{name: "of both, none", before: before, key: "all", args: []string{"Critical", "pump-1", "1"}, reply: list()},
			{name: "without any", key: "all", args: []string{"", "", "10"}, reply: list()},
		},
	}
}
