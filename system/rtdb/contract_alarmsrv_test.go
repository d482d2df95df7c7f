package rtdb_test

import "testing"

func TestContractOfAlarmsrv(t *testing.T) {
	t.Parallel()
	fulfil(t, alarmsrvContracts())
}

// Two alarms: the first one of a rule, the second one raised by hand.
var (
	raiseHot  = step{"alarm_store", "new", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "56.5", "high", "1000"}
	raiseLeak = step{"alarm_store", "new", "pump-1", "", "Minor", "Leak", "", "", "", "2000"}
)

// What the first one leaves behind.
const (
	hotSource   = "alarmsrv:alarms:by_source:comsrv:1001:T:1"
	hotOpen     = "hot|comsrv:1001:T:1=1"
	hotRaised   = "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text="
	hotToldFrom = `alarmsrv:new {"id":"1","from":"`
	hotTold     = `,"level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":`
)

func alarmsrvContracts() []contract {
	return []contract{
		alarmStoreContract(), alarmGetContract(), alarmAcknowledgeContract(), alarmResolveContract(), alarmShelveContract(), alarmUnshelveContract(),
		alarmSuppressContract(), alarmUnsuppressContract(), alarmSuppressionsContract(), alarmCommentContract(), alarmListContract(), alarmListActiveContract(),
		alarmCountsContract(), alarmJournalContract(), alarmCleanupContract(), alarmConfigureContract(), alarmTickContract(),
	}
}

func alarmSource() kind {
	return matching("what an alarm is about", `[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}`)
}

func alarmLevel() kind { return oneOf("Critical", "Major", "Minor", "Warning", "Info") }

func alarmCursor() kind { return matching("the number of an alarm, or nothing", `([1-9][0-9]{0,14})?`) }

func alarmGetContract() contract {
	return contract{
		function: "alarm_get", key: anID(),
		examples: []example{
			{
				name: "as raised", before: []step{raiseHot}, key: "1",
				reply: list("1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "as closed", before: []step{raiseHot, {"alarm_acknowledge", "1", "1", "anna", "4000"}, {"alarm_resolve", "1", "ben", "3000"}}, key: "1",
				reply: list("1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "closed", "56.5", "1", "1000", "1000", "3000", "4000", "anna", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "shelved, suppressed and with a remark", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseLeak, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}, {"alarm_comment", "1", "anna", "text", "2600"}}, key: "1",
				reply: list("1", "pump-1", "", "Minor", "Leak", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "50000", "anna", "known", "1", "", "", "1"),
			},
			{
				name: "none", before: []step{raiseHot}, key: "2",
				refused: "NOT_FOUND no alarm '2'",
			},
		},
	}
}

func alarmAcknowledgeContract() contract {
	return contract{
		function: "alarm_acknowledge", key: anID(),
		args: []kind{whole(1, 9999999999), words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "while active", before: []step{raiseHot}, key: "1", args: []string{"1", "anna", "4000"},
				reply: "active_acknowledged",
				after: map[string]string{
					"alarmsrv:alarm:1": "acknowledged_at=4000 acknowledged_by=anna description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_acknowledged title=Too hot value=56.5 worst=56.5",
					"alarmsrv:counts":  "active_acknowledged:Critical=1 active_unacknowledged:Critical=0",
					"alarmsrv:journal": "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=acknowledge alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_acknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"anna","time":4000}`,
				},
			},
			{
				name: "after it cleared", before: []step{raiseHot, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"1", "anna", "4000"},
				reply: "closed",
				after: map[string]string{
					"alarmsrv:alarm:1":              "acknowledged_at=4000 acknowledged_by=anna cleared_at=3000 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=closed title=Too hot value=56.5 worst=56.5",
					"alarmsrv:counts":               "active_unacknowledged:Critical=0 cleared_unacknowledged:Critical=0 closed:Critical=1",
					"alarmsrv:journal":              "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=acknowledge alarm=1 from=cleared_unacknowledged to=closed time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:closed":         "1=4000",
					"alarmsrv:order:level:Critical": gone,
					"alarmsrv:order:open":           gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"cleared_unacknowledged","state":"closed","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"anna","time":4000}`,
				},
			},
			{
				name: "the last of a suppressed one", before: []step{{"alarm_suppress", "all", "all", "", "anna", "repair", "", "500"}, raiseHot, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"1", "anna", "4000"},
				reply: "closed",
				after: map[string]string{
					"alarmsrv:alarm:1":              "acknowledged_at=4000 acknowledged_by=anna cleared_at=3000 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=closed title=Too hot value=56.5 worst=56.5",
					"alarmsrv:counts":               "active_unacknowledged:Critical=0 cleared_unacknowledged:Critical=0 closed:Critical=1 suppressed=0",
					"alarmsrv:journal":              "* event=suppress alarm= from= to= time=500 by=anna level= source= rule= title= occurrence= value= text=all: repair\n* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=suppressed\n* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=acknowledge alarm=1 from=cleared_unacknowledged to=closed time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:closed":         "1=4000",
					"alarmsrv:order:level:Critical": gone,
					"alarmsrv:order:open":           gone,
					"alarmsrv:order:suppressed":     gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"cleared_unacknowledged","state":"closed","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"anna","time":4000}`,
				},
			},
			{
				name: "where the settings were not read before", before: []step{{"HSET", "alarmsrv:alarm:1", "source", "pump-1", "rule", "", "level", "Minor", "title", "Leak", "description", "", "state", "active_unacknowledged", "value", "", "occurrences", "1", "raised_at", "1000", "last_at", "1000"}}, key: "1", args: []string{"1", "anna", "4000"},
				reply: "active_acknowledged",
				after: map[string]string{
					"alarmsrv:alarm:1": "acknowledged_at=4000 acknowledged_by=anna description= last_at=1000 level=Minor occurrences=1 raised_at=1000 rule= source=pump-1 state=active_acknowledged title=Leak value=",
					"alarmsrv:counts":  "active_acknowledged:Minor=1 active_unacknowledged:Minor=-1",
					"alarmsrv:journal": "* event=acknowledge alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_acknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"anna","time":4000}`,
				},
			},
			{
				name: "an occurrence that is yet to come", before: []step{raiseHot, raiseHot}, key: "1", args: []string{"3", "anna", "4000"},
				refused: "CONFLICT alarm '1' has occurred 2 times, and 3 were seen: look at it again",
			},
			{
				name: "an occurrence before it became active last", before: []step{raiseHot, {"alarm_resolve", "1", "ben", "3000"}, raiseHot}, key: "1", args: []string{"1", "anna", "4000"},
				refused: "CONFLICT alarm '1' has become active or worse as of occurrence 2, and 1 were seen: look at it again",
			},
			{
				name: "twice", before: []step{raiseHot, {"alarm_acknowledge", "1", "1", "anna", "4000"}}, key: "1", args: []string{"1", "anna", "4000"},
				refused: "CONFLICT alarm '1' is active_acknowledged: there is nothing to acknowledge",
			},
			{
				name: "a closed one", before: []step{raiseHot, {"alarm_acknowledge", "1", "1", "anna", "4000"}, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"1", "anna", "4000"},
				refused: "CONFLICT alarm '1' is closed: there is nothing to acknowledge",
			},
			{
				name: "none", key: "1", args: []string{"1", "anna", "4000"},
				refused: "NOT_FOUND no alarm '1'",
			},
		},
	}
}

func alarmResolveContract() contract {
	return contract{
		function: "alarm_resolve", key: anID(),
		args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "one that nobody has seen", before: []step{raiseHot}, key: "1", args: []string{"ben", "5000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "cleared_at=5000 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=cleared_unacknowledged title=Too hot value=56.5 worst=56.5",
					"alarmsrv:alarms:active":  gone,
					"alarmsrv:counts":         "active_unacknowledged:Critical=0 cleared_unacknowledged:Critical=1",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=5000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:active":   gone,
					"alarmsrv:order:standing": gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"cleared_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":5000}`,
				},
			},
			{
				name: "one that was acknowledged", before: []step{raiseHot, raiseLeak, {"alarm_acknowledge", "1", "1", "anna", "4000"}}, key: "1", args: []string{"ben", "5000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":              "acknowledged_at=4000 acknowledged_by=anna cleared_at=5000 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=closed title=Too hot value=56.5 worst=56.5",
					"alarmsrv:alarms:active":        "2",
					"alarmsrv:counts":               "active_acknowledged:Critical=0 active_unacknowledged:Critical=0 active_unacknowledged:Minor=1 closed:Critical=1",
					"alarmsrv:journal":              "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=raise alarm=2 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=acknowledge alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_acknowledged to=closed time=5000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:active":         "2=2",
					"alarmsrv:order:closed":         "1=5000",
					"alarmsrv:order:level:Critical": gone,
					"alarmsrv:order:open":           "2=2",
					"alarmsrv:order:standing":       "2=2000",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_acknowledged","state":"closed","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":5000}`,
				},
			},
			{
				name: "a suppressed one", before: []step{{"alarm_suppress", "all", "all", "", "anna", "repair", "", "500"}, raiseHot, {"alarm_acknowledge", "1", "1", "anna", "4000"}}, key: "1", args: []string{"ben", "5000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":              "acknowledged_at=4000 acknowledged_by=anna cleared_at=5000 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=closed title=Too hot value=56.5 worst=56.5",
					"alarmsrv:alarms:active":        gone,
					"alarmsrv:counts":               "active_acknowledged:Critical=0 active_unacknowledged:Critical=0 closed:Critical=1 suppressed=0",
					"alarmsrv:journal":              "* event=suppress alarm= from= to= time=500 by=anna level= source= rule= title= occurrence= value= text=all: repair\n* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=suppressed\n* event=acknowledge alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_acknowledged to=closed time=5000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:active":         gone,
					"alarmsrv:order:closed":         "1=5000",
					"alarmsrv:order:level:Critical": gone,
					"alarmsrv:order:open":           gone,
					"alarmsrv:order:suppressed":     gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_acknowledged","state":"closed","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":5000}`,
				},
			},
			{
				name: "where the settings were not read before", before: []step{{"HSET", "alarmsrv:alarm:1", "source", "pump-1", "rule", "", "level", "Minor", "title", "Leak", "description", "", "state", "active_unacknowledged", "value", "", "occurrences", "1", "raised_at", "1000", "last_at", "1000"}}, key: "1", args: []string{"ben", "5000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "cleared_at=5000 description= last_at=1000 level=Minor occurrences=1 raised_at=1000 rule= source=pump-1 state=cleared_unacknowledged title=Leak value=",
					"alarmsrv:counts":  "active_unacknowledged:Minor=-1 cleared_unacknowledged:Minor=1",
					"alarmsrv:journal": "* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=5000 by=ben level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"cleared_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"ben","time":5000}`,
				},
			},
			{
				name: "one that has cleared", before: []step{raiseHot, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"ben", "5000"},
				refused: "CONFLICT alarm '1' is not active",
			},
			{
				name: "none", key: "1", args: []string{"ben", "5000"},
				refused: "NOT_FOUND no alarm '1'",
			},
		},
	}
}

func alarmCommentContract() contract {
	return contract{
		function: "alarm_comment", key: anID(),
		args: []kind{words(1, 100), words(1, 2000), milliseconds()},
		examples: []example{
			{
				name: "a remark", before: []step{raiseHot}, key: "1", args: []string{"anna", "looks old", "4000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "comments=1 description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 worst=56.5",
					"alarmsrv:journal": "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=comment alarm=1 from=active_unacknowledged to=active_unacknowledged time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=looks old",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"anna","time":4000}`,
				},
			},
			{
				name: "where the settings were not read before", before: []step{{"HSET", "alarmsrv:alarm:1", "source", "pump-1", "rule", "", "level", "Minor", "title", "Leak", "description", "", "state", "active_unacknowledged", "value", "", "occurrences", "1", "raised_at", "1000", "last_at", "1000"}}, key: "1", args: []string{"anna", "x", "4000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "comments=1 description= last_at=1000 level=Minor occurrences=1 raised_at=1000 rule= source=pump-1 state=active_unacknowledged title=Leak value=",
					"alarmsrv:journal": "* event=comment alarm=1 from=active_unacknowledged to=active_unacknowledged time=4000 by=anna level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=x",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"anna","time":4000}`,
				},
			},
			{
				name: "none", key: "1", args: []string{"anna", "x", "4000"},
				refused: "NOT_FOUND no alarm '1'",
			},
		},
	}
}
