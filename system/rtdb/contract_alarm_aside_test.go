package rtdb_test

func alarmShelveContract() contract {
	return contract{
		function: "alarm_shelve", key: anID(),
		args: []kind{words(1, 100), words(1, 500), whole(2001, 86402000), whole(0, 49999)},
		examples: []example{
			{
				name: "an active one", before: []step{raiseHot}, key: "1", args: []string{"anna", "known", "50000", "2000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot shelved_by=anna shelved_reason=known shelved_until=50000 source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 worst=56.5",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=1",
					"alarmsrv:due":            "shelf:hot|comsrv:1001:T:1=50000",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known",
					"alarmsrv:order:standing": gone,
					"alarmsrv:shelved":        "hot|comsrv:1001:T:1=50000 4 annaknown",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"anna","time":2000}`,
				},
			},
			{
				name: "for longer", before: []step{raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}}, key: "1", args: []string{"ben", "still", "80000", "3000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot shelved_by=ben shelved_reason=still shelved_until=80000 source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 worst=56.5",
					"alarmsrv:due":     "shelf:hot|comsrv:1001:T:1=80000",
					"alarmsrv:journal": "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=still",
					"alarmsrv:shelved": "hot|comsrv:1001:T:1=80000 3 benstill",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":3000}`,
				},
			},
			{
				name: "where the settings were not read before", before: []step{{"HSET", "alarmsrv:alarm:1", "source", "pump-1", "rule", "", "level", "Minor", "title", "Leak", "description", "", "state", "active_unacknowledged", "value", "", "occurrences", "1", "raised_at", "1000", "last_at", "1000"}}, key: "1", args: []string{"anna", "known", "50000", "2000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1": "description= last_at=1000 level=Minor occurrences=1 raised_at=1000 rule= shelved_by=anna shelved_reason=known shelved_until=50000 source=pump-1 state=active_unacknowledged title=Leak value=",
					"alarmsrv:counts":  "shelved=1",
					"alarmsrv:due":     "shelf:|pump-1=50000",
					"alarmsrv:journal": "* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2000 by=anna level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=known",
					"alarmsrv:shelved": "|pump-1=50000 4 annaknown",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"anna","time":2000}`,
				},
			},
			{
				name: "for too long", before: []step{raiseHot}, key: "1", args: []string{"anna", "known", "86402001", "2000"},
				refused: "INVALID until must be later than now, by at most 1440 minutes",
			},
			{
				name: "a closed one", before: []step{raiseHot, {"alarm_acknowledge", "1", "1", "anna", "4000"}, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"anna", "known", "50000", "2000"},
				refused: "CONFLICT alarm '1' is closed",
			},
			{
				name: "none", key: "1", args: []string{"anna", "known", "50000", "2000"},
				refused: "NOT_FOUND no alarm '1'",
			},
		},
	}
}

func alarmUnshelveContract() contract {
	return contract{
		function: "alarm_unshelve", key: anID(),
		args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "an active one", before: []step{raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=9000 worst=56.5",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=0",
					"alarmsrv:due":            gone,
					"alarmsrv:flood":          "minute=0 s0=2 total=2",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:notifications":  "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=9000 text=unshelve",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":9000}`,
				},
			},
			{
				name: "one that escalates", before: []step{{"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=9000 worst=56.5",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=0",
					"alarmsrv:due":            "escalate:1=14000",
					"alarmsrv:flood":          "minute=0 s0=2 total=2",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:notifications":  "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=9000 text=unshelve",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":9000}`,
				},
			},
			{
				name: "one that is closed now", before: []step{raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}, {"alarm_acknowledge", "1", "1", "anna", "4000"}, {"alarm_resolve", "1", "ben", "3000"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:due":     gone,
					"alarmsrv:journal": "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=acknowledge alarm=1 from=active_unacknowledged to=active_acknowledged time=4000 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_acknowledged to=closed time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=unshelve alarm= from= to= time=9000 by=ben level= source=comsrv:1001:T:1 rule=hot title= occurrence= value= text=",
					"alarmsrv:shelved": gone,
				},
			},
			{
				name: "in a flood", before: []step{{"alarm_configure", "all", "1", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}, raiseLeak}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=9000 worst=56.5",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 active_unacknowledged:Minor=1 shelved=0",
					"alarmsrv:due":            "flood:=2000 escalate:2=7000 escalate:1=14000",
					"alarmsrv:flood":          "minute=0 s0=3 since=2000 total=3",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=raise alarm=2 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:order:standing": "1=1000 2=2000",
					"alarmsrv:shelved":        gone,
					"alarmsrv:summary":        "Critical comsrv:1001:T:1=1 Minor pump-1=1",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":9000}`,
				},
			},
			{
				name: "when nobody takes notifications", before: []step{{"alarm_configure", "all", "1000", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}, {"FILL", "alarmsrv:notifications", "10"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=9000 worst=56.5",
					"alarmsrv:counters":       "notifications_dropped=2",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=0",
					"alarmsrv:due":            "escalate:1=14000",
					"alarmsrv:flood":          "minute=0 s0=2 total=2",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:notifications":  "* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=9000 text=unshelve",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":9000}`,
				},
			},
			{
				name: "when a target is too slow", before: []step{{"alarm_configure", "all", "1000", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}, {"TAKE", "alarmsrv:notifications", "duty", "netsrv"}, {"FILL", "alarmsrv:notifications", "10"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"netsrv:lost":             "duty=1",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=9000 worst=56.5",
					"alarmsrv:counters":       "notifications_dropped=2",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=0",
					"alarmsrv:due":            "escalate:1=14000",
					"alarmsrv:flood":          "minute=0 s0=2 total=2",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=",
					"alarmsrv:notifications":  "* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=9000 text=unshelve\ngroup duty *@netsrv",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"ben","time":9000}`,
				},
			},
			{
				name: "where the settings were not read before", before: []step{{"HSET", "alarmsrv:alarm:1", "source", "pump-1", "rule", "", "level", "Minor", "title", "Leak", "description", "", "state", "active_unacknowledged", "value", "", "occurrences", "1", "raised_at", "1000", "last_at", "1000"}, {"HSET", "alarmsrv:definitions", "|pump-1", "1"}, {"HSET", "alarmsrv:shelved", "|pump-1", "50000 4 annaknown"}}, key: "1", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":        "description= last_at=1000 level=Minor occurrences=1 raised_at=1000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:flood":          "minute=0 s0=1 total=1",
					"alarmsrv:journal":        "* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=ben level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:notifications":  "* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=9000 text=unshelve",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"ben","time":9000}`,
				},
			},
			{
				name: "one that is not shelved", before: []step{raiseHot}, key: "1", args: []string{"ben", "9000"},
				refused: "CONFLICT alarm '1' is not shelved",
			},
			{
				name: "none", key: "1", args: []string{"ben", "9000"},
				refused: "NOT_FOUND no alarm '1'",
			},
		},
	}
}

func alarmSuppressContract() contract {
	return contract{
		function: "alarm_suppress", key: anID(),
		args: []kind{oneOf("source", "rule"), alarmSource(), words(1, 100), words(1, 500), optional(whole(1501, 999999999999999)), whole(0, 59999)},
		examples: []example{
			{
				name: "a source for a while", key: "pv", args: []string{"source", "pump", "anna", "new pump", "60000", "1500"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:due":          "suppression:pv=60000",
					"alarmsrv:journal":      "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump",
					"alarmsrv:suppressions": "pv=source pump 1500 60000 4 annanew pump",
					"alarmsrv:version":      "65c1dee31a0f39a7ed2f5945e45042db11fc647d",
				},
			},
			{
				name: "a rule", key: "r", args: []string{"rule", "hot", "anna", "x", "", "1500"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:journal":      "* event=suppress alarm= from= to= time=1500 by=anna level= source= rule=hot title= occurrence= value= text=r: x",
					"alarmsrv:suppressions": "r=rule hot 1500  4 annax",
					"alarmsrv:version":      "76bf0a40b514341615ac5582dbbd0abc91c4ba11",
				},
			},
			{
				name: "all", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}}, key: "all", args: []string{"all", "", "anna", "x", "", "1500"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:journal":      "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=suppress alarm= from= to= time=1500 by=anna level= source= rule= title= occurrence= value= text=all: x",
					"alarmsrv:suppressions": "all=all  1500  4 annax pv=source pump 1500 60000 4 annanew pump",
					"alarmsrv:version":      "b0555f8fff20d66e9b59c9c2adee60f97f8487ff",
				},
			},
			{
				name: "the same id", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}}, key: "pv", args: []string{"all", "", "anna", "x", "", "1500"},
				refused: "CONFLICT there is a suppression 'pv' already",
			},
			{
				name: "all of something", key: "pv", args: []string{"all", "pump", "anna", "x", "", "1500"},
				refused: "INVALID the scope all takes no value",
			},
			{
				name: "into the past", key: "pv", args: []string{"all", "", "anna", "x", "1500", "1500"},
				refused: "INVALID until must be later than now",
			},
		},
	}
}

func alarmUnsuppressContract() contract {
	return contract{
		function: "alarm_unsuppress", key: anID(),
		args: []kind{words(1, 100), milliseconds()},
		examples: []example{
			{
				name: "with alarms that are active", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseLeak}, key: "pv", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":          "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 recent=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:counts":           "active_unacknowledged:Minor=1 suppressed=0",
					"alarmsrv:due":              gone,
					"alarmsrv:flood":            "minute=0 s0=1 total=1",
					"alarmsrv:journal":          "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=9000 by=ben level= source=pump rule= title= occurrence= value= text=pv\n* event=unsuppress alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:notifications":    "* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=9000 text=unsuppress",
					"alarmsrv:order:standing":   "1=2000",
					"alarmsrv:order:suppressed": gone,
					"alarmsrv:suppressions":     gone,
					"alarmsrv:version":          "3eb416223e9e69e6bb8ee19793911ad1ad2027d8",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "while another one goes on", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, {"alarm_suppress", "all", "all", "", "anna", "repair", "", "500"}, raiseLeak}, key: "pv", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:due":          gone,
					"alarmsrv:journal":      "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=suppress alarm= from= to= time=500 by=anna level= source= rule= title= occurrence= value= text=all: repair\n* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=9000 by=ben level= source=pump rule= title= occurrence= value= text=pv",
					"alarmsrv:suppressions": "all=all  500  4 annarepair",
					"alarmsrv:version":      "673311e2cb62b64586b0dda079d0399c75749654",
				},
			},
			{
				name: "with one that escalates, in a flood", before: []step{{"alarm_configure", "all", "1", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, raiseLeak, {"alarm_suppress", "all", "all", "", "anna", "repair", "", "500"}, {"alarm_store", "new", "pump-2", "", "Minor", "Leak", "", "", "", "2000"}}, key: "all", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:3":          "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 recent=2000 rule= source=pump-2 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:counts":           "active_unacknowledged:Critical=1 active_unacknowledged:Minor=2 suppressed=0",
					"alarmsrv:due":              "flood:=2000 escalate:1=6000 escalate:2=7000 escalate:3=14000",
					"alarmsrv:flood":            "minute=0 s0=3 since=2000 total=3",
					"alarmsrv:journal":          "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=raise alarm=2 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=suppress alarm= from= to= time=500 by=anna level= source= rule= title= occurrence= value= text=all: repair\n* event=raise alarm=3 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-2 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=9000 by=ben level= source= rule= title= occurrence= value= text=all\n* event=unsuppress alarm=3 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Minor source=pump-2 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:order:standing":   "1=1000 2=2000 3=2000",
					"alarmsrv:order:suppressed": gone,
					"alarmsrv:summary":          "Minor pump-1=1 Minor pump-2=1",
					"alarmsrv:suppressions":     gone,
					"alarmsrv:version":          "30bf0a0a6ce43b2d3ae62bc1b600903d5e799129",
				},
				told: []string{
					`alarmsrv:new {"id":"3","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-2","title":"Leak","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "when nobody takes notifications", before: []step{{"alarm_configure", "all", "1000", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, {"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseLeak, {"FILL", "alarmsrv:notifications", "10"}}, key: "pv", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:alarm:1":          "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 recent=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:counters":         "notifications_dropped=1",
					"alarmsrv:counts":           "active_unacknowledged:Minor=1 suppressed=0",
					"alarmsrv:due":              "escalate:1=14000",
					"alarmsrv:flood":            "minute=0 s0=1 total=1",
					"alarmsrv:journal":          "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=9000 by=ben level= source=pump rule= title= occurrence= value= text=pv\n* event=unsuppress alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:notifications":    "* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=9000 text=unsuppress",
					"alarmsrv:order:standing":   "1=2000",
					"alarmsrv:order:suppressed": gone,
					"alarmsrv:suppressions":     gone,
					"alarmsrv:version":          "30ed0e83958761a4b9411a0e06c0dfeca22004a3",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "when a target is too slow", before: []step{{"alarm_configure", "all", "1000", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, {"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseLeak, {"FILL", "alarmsrv:notifications", "1"}, {"TAKE", "alarmsrv:notifications", "duty", "netsrv"}, {"FILL", "alarmsrv:notifications", "10"}}, key: "pv", args: []string{"ben", "9000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:order:standing":   "1=2000",
					"netsrv:lost":               "duty=1",
					"alarmsrv:alarm:1":          "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 recent=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:counters":         "notifications_dropped=2",
					"alarmsrv:counts":           "active_unacknowledged:Minor=1 suppressed=0",
					"alarmsrv:due":              "escalate:1=14000",
					"alarmsrv:flood":            "minute=0 s0=1 total=1",
					"alarmsrv:journal":          "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=9000 by=ben level= source=pump rule= title= occurrence= value= text=pv\n* event=unsuppress alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:notifications":    "* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* x=1\n* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=9000 text=unsuppress\ngroup duty *@netsrv",
					"alarmsrv:order:suppressed": gone,
					"alarmsrv:suppressions":     gone,
					"alarmsrv:version":          "30ed0e83958761a4b9411a0e06c0dfeca22004a3",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "none", key: "pv", args: []string{"ben", "9000"},
				refused: "NOT_FOUND no suppression 'pv'",
			},
		},
	}
}

func alarmSuppressionsContract() contract {
	return contract{
		function: "alarm_suppressions", key: anyName(),
		examples: []example{
			{
				name: "two", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, {"alarm_suppress", "all", "all", "", "anna", "repair", "", "500"}}, key: "all",
				reply: list("all", "all", "", "anna", "repair", "500", "", "pv", "source", "pump", "anna", "new pump", "1500", "60000"),
			},
			{
				name: "none", key: "all",
				reply: list(),
			},
		},
	}
}
