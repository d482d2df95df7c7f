package rtdb_test

func alarmListContract() contract {
	return contract{
		function: "alarm_list", key: anyName(),
		args: []kind{alarmCursor(), whole(1, 1000), oneOf("", "open", "active", "active_unacknowledged", "active_acknowledged", "cleared_unacknowledged", "closed"),
			optional(alarmLevel()), optional(alarmSource()), optional(anID()), optional(milliseconds()), optional(milliseconds()), oneOf("", "0", "1"), oneOf("", "0", "1")},
		examples: []example{
			{
				name: "all", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "1000", "", "", "", "", "", "", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "2", "pump-1", "", "Minor", "Leak", "", "cleared_unacknowledged", "", "1", "2000", "2000", "2500", "", "", "", "", "", "", "", "", "", "", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "the newest", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "2", "", "", "", "", "", "", "", ""},
				reply: list("2", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "2", "pump-1", "", "Minor", "Leak", "", "cleared_unacknowledged", "", "1", "2000", "2000", "2500", "", "", "", "", "", "", "", "", "", ""),
			},
			{
				name: "the next page", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"2", "2", "", "", "", "", "", "", "", ""},
				reply: list("", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "open ones of a level", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "open", "Minor", "", "", "", "", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "2", "pump-1", "", "Minor", "Leak", "", "cleared_unacknowledged", "", "1", "2000", "2000", "2500", "", "", "", "", "", "", "", "", "", ""),
			},
			{
				name: "active ones", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "active", "", "", "", "", "", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "open ones", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "open", "", "", "", "", "", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "2", "pump-1", "", "Minor", "Leak", "", "cleared_unacknowledged", "", "1", "2000", "2000", "2500", "", "", "", "", "", "", "", "", "", "", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "of a source and a rule", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "", "", "pump-1", "wet", "", "", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", ""),
			},
			{
				name: "by time", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "", "", "", "", "1000", "2000", "", ""},
				reply: list("", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "suppressed", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "1", "", "", "", "", "", "", "", "1"},
				reply: list("3", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "1", "", "", ""),
			},
			{
				name: "none", key: "all", args: []string{"", "9", "", "", "", "", "", "", "0", ""},
				reply: list(""),
			},
		},
	}
}

func alarmListActiveContract() contract {
	return contract{
		function: "alarm_list_active", key: anyName(),
		args: []kind{alarmCursor(), whole(1, 1000), optional(alarmLevel()), optional(alarmSource())},
		examples: []example{
			{
				name: "all", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", "", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "the next page", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"3", "9", "", ""},
				reply: list("", "1", "comsrv:1001:T:1", "hot", "Critical", "Too hot", "at the inlet", "active_unacknowledged", "56.5", "1", "1000", "1000", "", "", "", "56.5", "", "", "", "", "", "", ""),
			},
			{
				name: "of a level", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "9", "Minor", ""},
				reply: list("", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", ""),
			},
			{
				name: "of a source", before: []step{raiseHot, raiseLeak, {"alarm_store", "new", "pump-1", "wet", "Minor", "Wet", "", "", "", "2000"}, {"alarm_resolve", "2", "anna", "2500"}}, key: "all", args: []string{"", "1", "", "pump-1"},
				reply: list("3", "3", "pump-1", "wet", "Minor", "Wet", "", "active_unacknowledged", "", "1", "2000", "2000", "", "", "", "", "", "", "", "", "", "", ""),
			},
		},
	}
}

func alarmCountsContract() contract {
	return contract{
		function: "alarm_counts", key: anyName(),
		args: []kind{milliseconds()},
		examples: []example{
			{
				name: "two standing, one of them stale", before: []step{raiseHot, raiseLeak}, key: "all", args: []string{"2000"},
				reply: list("active_unacknowledged:Critical", "1", "active_unacknowledged:Major", "0", "active_unacknowledged:Minor", "1", "active_unacknowledged:Warning", "0", "active_unacknowledged:Info", "0", "active_acknowledged:Critical", "0", "active_acknowledged:Major", "0", "active_acknowledged:Minor", "0", "active_acknowledged:Warning", "0", "active_acknowledged:Info", "0", "cleared_unacknowledged:Critical", "0", "cleared_unacknowledged:Major", "0", "cleared_unacknowledged:Minor", "0", "cleared_unacknowledged:Warning", "0", "cleared_unacknowledged:Info", "0", "closed:Critical", "0", "closed:Major", "0", "closed:Minor", "0", "closed:Warning", "0", "closed:Info", "0", "shelved", "0", "suppressed", "0", "chattering", "0", "standing", "2", "stale", "1", "raised_10min", "2", "flood_since", "0", "journal", "2", "journal_trimmed", "0", "notifications", "2", "notifications_dropped", "0"),
			},
			{
				name: "one shelved, some dropped", before: []step{{"alarm_configure", "all", "1000", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, {"FILL", "alarmsrv:notifications", "10"}, raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}}, key: "all", args: []string{"0"},
				reply: list("active_unacknowledged:Critical", "1", "active_unacknowledged:Major", "0", "active_unacknowledged:Minor", "0", "active_unacknowledged:Warning", "0", "active_unacknowledged:Info", "0", "active_acknowledged:Critical", "0", "active_acknowledged:Major", "0", "active_acknowledged:Minor", "0", "active_acknowledged:Warning", "0", "active_acknowledged:Info", "0", "cleared_unacknowledged:Critical", "0", "cleared_unacknowledged:Major", "0", "cleared_unacknowledged:Minor", "0", "cleared_unacknowledged:Warning", "0", "cleared_unacknowledged:Info", "0", "closed:Critical", "0", "closed:Major", "0", "closed:Minor", "0", "closed:Warning", "0", "closed:Info", "0", "shelved", "1", "suppressed", "0", "chattering", "0", "standing", "0", "stale", "0", "raised_10min", "1", "flood_since", "0", "journal", "2", "journal_trimmed", "0", "notifications", "10", "notifications_dropped", "1"),
			},
			{
				name: "none", key: "all", args: []string{"0"},
				reply: list("active_unacknowledged:Critical", "0", "active_unacknowledged:Major", "0", "active_unacknowledged:Minor", "0", "active_unacknowledged:Warning", "0", "active_unacknowledged:Info", "0", "active_acknowledged:Critical", "0", "active_acknowledged:Major", "0", "active_acknowledged:Minor", "0", "active_acknowledged:Warning", "0", "active_acknowledged:Info", "0", "cleared_unacknowledged:Critical", "0", "cleared_unacknowledged:Major", "0", "cleared_unacknowledged:Minor", "0", "cleared_unacknowledged:Warning", "0", "cleared_unacknowledged:Info", "0", "closed:Critical", "0", "closed:Major", "0", "closed:Minor", "0", "closed:Warning", "0", "closed:Info", "0", "shelved", "0", "suppressed", "0", "chattering", "0", "standing", "0", "stale", "0", "raised_10min", "0", "flood_since", "0", "journal", "0", "journal_trimmed", "0", "notifications", "0", "notifications_dropped", "0"),
			},
		},
	}
}

func alarmJournalContract() contract {
	return contract{
		function: "alarm_journal", key: anyName(),
		args: []kind{optional(anID()), oneOf("newer", "older"), optional(entry()), whole(1, 200)},
		examples: []example{
			{
				name: "newest first", before: []step{{"XADD", "alarmsrv:journal", "1-1", "event", "raise", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "5.5", "text", ""}, {"XADD", "alarmsrv:journal", "2-1", "event", "raise", "alarm", "2", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", ""}, {"XADD", "alarmsrv:journal", "2-2", "event", "comment", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", "a remark"}}, key: "all", args: []string{"", "older", "", "2"},
				reply: list("2-1", "2-2", "comment", "1", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "", "a remark", "2-1", "raise", "2", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "", ""),
			},
			{
				name: "the next page", before: []step{{"XADD", "alarmsrv:journal", "1-1", "event", "raise", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "5.5", "text", ""}, {"XADD", "alarmsrv:journal", "2-1", "event", "raise", "alarm", "2", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", ""}, {"XADD", "alarmsrv:journal", "2-2", "event", "comment", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", "a remark"}}, key: "all", args: []string{"", "older", "2-1", "2"},
				reply: list("", "1-1", "raise", "1", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "5.5", ""),
			},
			{
				name: "oldest first, of one alarm", before: []step{{"XADD", "alarmsrv:journal", "1-1", "event", "raise", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "5.5", "text", ""}, {"XADD", "alarmsrv:journal", "2-1", "event", "raise", "alarm", "2", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", ""}, {"XADD", "alarmsrv:journal", "2-2", "event", "comment", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", "a remark"}}, key: "all", args: []string{"1", "newer", "", "200"},
				reply: list("", "1-1", "raise", "1", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "5.5", "", "2-2", "comment", "1", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "", "a remark"),
			},
			{
				name: "after an entry", before: []step{{"XADD", "alarmsrv:journal", "1-1", "event", "raise", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "5.5", "text", ""}, {"XADD", "alarmsrv:journal", "2-1", "event", "raise", "alarm", "2", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", ""}, {"XADD", "alarmsrv:journal", "2-2", "event", "comment", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", "a remark"}}, key: "all", args: []string{"", "newer", "1-1", "1"},
				reply: list("2-1", "2-1", "raise", "2", "", "", "1000", "anna", "Minor", "pump-1", "", "Leak", "1", "", ""),
			},
			{
				name: "without any", key: "all", args: []string{"", "older", "", "10"},
				reply: list(""),
			},
			{
				name: "of an alarm that never was", before: []step{{"XADD", "alarmsrv:journal", "1-1", "event", "raise", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "5.5", "text", ""}, {"XADD", "alarmsrv:journal", "2-1", "event", "raise", "alarm", "2", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", ""}, {"XADD", "alarmsrv:journal", "2-2", "event", "comment", "alarm", "1", "from", "", "to", "", "time", "1000", "by", "anna", "level", "Minor", "source", "pump-1", "rule", "", "title", "Leak", "occurrence", "1", "value", "", "text", "a remark"}}, key: "all", args: []string{"9", "newer", "", "1"},
				reply: list(""),
			},
		},
	}
}

// twoSteps are settings with escalation: one step that tells somebody, and one to
// another level.
var twoSteps = step{"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}

func alarmConfigureContract() contract {
	return contract{
		function: "alarm_configure", key: anyName(),
		args: []kind{whole(1, 100000), whole(2, 20), whole(1000, 3600000), whole(60000, 604800000), whole(1000, 10000000), whole(10, 1000000)},
		more: []kind{alarmLevel(), whole(1000, 604800000), optional(alarmLevel()), words(0, 200)}, most: 20,
		examples: []example{
			{
				name: "without escalation", key: "all", args: []string{"10", "3", "60000", "86400000", "100000", "10000"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:settings": "chatter_count=3 chatter_period=60000 escalation= flood_limit=10 journal_limit=100000 notification_limit=10000 shelve_max=86400000",
					"alarmsrv:version":  "758c0a10c5df596cb1ba36908a6323c87e41d849",
				},
			},
			{
				name: "with escalation", before: []step{{"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, {"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}}, key: "all", args: []string{"20", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:settings": "chatter_count=2 chatter_period=60000 escalation=Critical\t5000\t\tshift lead\nMinor\t5000\tMajor\t\n flood_limit=20 journal_limit=1000 notification_limit=10 shelve_max=86400000",
					"alarmsrv:version":  "160f7bb85b72787b49532197683b116ed23fe204",
				},
			},
			{
				name: "other steps while alarms stand", before: []step{twoSteps, raiseHot}, key: "all", args: []string{"10", "2", "60000", "86400000", "1000", "10", "Critical", "3000", "", "manager"},
				reply: "OK",
				after: map[string]string{
					"alarmsrv:settings": "chatter_count=2 chatter_period=60000 escalation=Critical\t3000\t\tmanager\n flood_limit=10 journal_limit=1000 notification_limit=10 shelve_max=86400000",
					"alarmsrv:version":  "00b0be90e97f4177b4385c45a0a3e144b1958304",
					"alarmsrv:due":      "reschedule:0=0 escalate:1=6000",
				},
			},
			{
				name: "the same again while alarms stand", before: []step{twoSteps, raiseHot}, key: "all", args: twoSteps[2:],
				reply: "OK",
			},
			{
				name: "a step down", key: "all", args: []string{"10", "3", "60000", "86400000", "100000", "10000", "Major", "5000", "Minor", ""},
				refused: "INVALID a step leads from Major to Minor, which is not more severe",
			},
		},
	}
}

func alarmTickContract() contract {
	return contract{
		function: "alarm_tick", key: anyName(),
		args: []kind{milliseconds(), whole(1, 1000)},
		examples: []example{
			{
				name: "nothing is due", key: "all", args: []string{"9000", "50"},
				reply: list("0", "0"),
			},
			{
				name: "a step that tells somebody", before: []step{{"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot}, key: "all", args: []string{"9000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:flood":         "minute=0 s0=2 total=2",
					"alarmsrv:alarm:1":       "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waited=5000 worst=56.5",
					"alarmsrv:due":           gone,
					"alarmsrv:journal":       "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=escalate alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=shift lead",
					"alarmsrv:notifications": "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=escalation alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=9000 text=shift lead",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "a step to another level", before: []step{{"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseLeak}, key: "all", args: []string{"9000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:flood":                 "minute=0 s0=2 total=2",
					"alarmsrv:alarm:1":               "description= escalated_from=Minor last_at=2000 level=Major occurrences=1 raised_at=2000 recent=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=9000",
					"alarmsrv:alarms:by_level:Major": "1",
					"alarmsrv:alarms:by_level:Minor": gone,
					"alarmsrv:counts":                "active_unacknowledged:Major=1 active_unacknowledged:Minor=0",
					"alarmsrv:due":                   gone,
					"alarmsrv:journal":               "* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=escalate alarm=1 from=active_unacknowledged to=active_unacknowledged time=9000 by=alarmsrv level=Major source=pump-1 rule= title=Leak occurrence=1 value= text=Minor to Major",
					"alarmsrv:notifications":         "* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=2000 text=raise\n* kind=escalation alarm=1 level=Major source=pump-1 rule= title=Leak description= occurrence=1 value= time=9000 text=",
					"alarmsrv:order:level:Major":     "1=1",
					"alarmsrv:order:level:Minor":     gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Major","source":"pump-1","title":"Leak","by":"alarmsrv","time":9000}`,
				},
			},
			{
				name: "other steps than when the alarms were raised", key: "all", args: []string{"2500", "50"},
				before: []step{twoSteps, raiseHot, raiseLeak, {"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "3000", "", "manager"}},
				reply:  list("1", "0"),
				after:  map[string]string{"alarmsrv:due": "escalate:1=4000"},
			},
			{
				name: "a step that is due later now", key: "all", args: []string{"6000", "50"},
				before: []step{
					twoSteps, raiseHot, {"alarm_configure", "all", "10", "2", "60000", "86400000", "1000", "10", "Critical", "9000", "", "manager"}, {"ZREM", "alarmsrv:due", "reschedule:0"},
				},
				reply: list("1", "0"),
				after: map[string]string{"alarmsrv:due": "escalate:1=10000"},
			},
			{
				name: "a shelf that expires", before: []step{raiseHot, {"alarm_shelve", "1", "anna", "known", "50000", "2500"}}, key: "all", args: []string{"50000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:alarm:1":        "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waits_since=50000 worst=56.5",
					"alarmsrv:counts":         "active_unacknowledged:Critical=1 shelved=0",
					"alarmsrv:due":            gone,
					"alarmsrv:flood":          "minute=0 s0=2 total=2",
					"alarmsrv:journal":        "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=shelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=2500 by=anna level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=known\n* event=unshelve alarm=1 from=active_unacknowledged to=active_unacknowledged time=50000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=expired",
					"alarmsrv:notifications":  "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=50000 text=unshelve",
					"alarmsrv:order:standing": "1=1000",
					"alarmsrv:shelved":        gone,
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":50000}`,
				},
			},
			{
				name: "a suppression that ends", before: []step{{"alarm_suppress", "pv", "source", "pump", "anna", "new pump", "60000", "1500"}, raiseLeak}, key: "all", args: []string{"60000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:alarm:1":          "description= last_at=2000 level=Minor occurrences=1 raised_at=2000 recent=2000 rule= source=pump-1 state=active_unacknowledged title=Leak value= waits_since=60000",
					"alarmsrv:counts":           "active_unacknowledged:Minor=1 suppressed=0",
					"alarmsrv:due":              gone,
					"alarmsrv:flood":            "minute=1 s1=1 total=1",
					"alarmsrv:journal":          "* event=suppress alarm= from= to= time=1500 by=anna level= source=pump rule= title= occurrence= value= text=pv: new pump\n* event=raise alarm=1 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=suppressed\n* event=unsuppress alarm= from= to= time=60000 by=alarmsrv level= source=pump rule= title= occurrence= value= text=pv\n* event=unsuppress alarm=1 from=active_unacknowledged to=active_unacknowledged time=60000 by=alarmsrv level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=",
					"alarmsrv:notifications":    "* kind=alarm alarm=1 level=Minor source=pump-1 rule= title=Leak description= occurrence=1 value= time=60000 text=unsuppress",
					"alarmsrv:order:standing":   "1=2000",
					"alarmsrv:order:suppressed": gone,
					"alarmsrv:suppressions":     gone,
					"alarmsrv:version":          "3eb416223e9e69e6bb8ee19793911ad1ad2027d8",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Minor","source":"pump-1","title":"Leak","by":"alarmsrv","time":60000}`,
				},
			},
			{
				name: "a summary", before: []step{{"alarm_configure", "all", "1", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, raiseLeak}, key: "all", args: []string{"2000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:due":           "escalate:1=6000 escalate:2=7000 flood:=62000",
					"alarmsrv:notifications": "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=summary count=1 levels=Minor 1 sources=pump-1 1 escalated= since=2000 time=2000 text=flood",
					"alarmsrv:summary":       gone,
				},
			},
			{
				name: "a step in a flood", before: []step{{"alarm_configure", "all", "1", "2", "60000", "86400000", "1000", "10", "Critical", "5000", "", "shift lead", "Minor", "5000", "Major", ""}, raiseHot, raiseLeak, {"alarm_acknowledge", "2", "1", "anna", "2500"}, {"alarm_tick", "all", "5000", "50"}}, key: "all", args: []string{"6000", "50"},
				reply: list("1", "0"),
				after: map[string]string{
					"alarmsrv:alarm:1": "description=at the inlet last_at=1000 level=Critical occurrences=1 raised_at=1000 recent=1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waited=5000 worst=56.5",
					"alarmsrv:due":     "flood:=65000",
					"alarmsrv:flood":   "minute=0 s0=3 since=2000 total=3",
					"alarmsrv:journal": "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=raise alarm=2 from= to=active_unacknowledged time=2000 by=operator level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=acknowledge alarm=2 from=active_unacknowledged to=active_acknowledged time=2500 by=anna level=Minor source=pump-1 rule= title=Leak occurrence=1 value= text=\n* event=escalate alarm=1 from=active_unacknowledged to=active_unacknowledged time=6000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=shift lead",
					"alarmsrv:summary": "escalated Critical shift lead=1",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":6000}`,
				},
			},
			{
				name: "one thing alone of what is due", before: []step{twoSteps, raiseHot, {"alarm_resolve", "1", "ben", "3000"}, raiseHot}, key: "all", args: []string{"99000", "1"},
				reply: list("1", "1"),
				after: map[string]string{
					"alarmsrv:flood":         "minute=1 s0=2 s1=1 total=3",
					"alarmsrv:alarm:1":       "activated=2 chattering=1 description=at the inlet last_at=1000 level=Critical occurrences=2 raised_at=1000 recent=1000 1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waited=5000 waits_since=1000 worst=56.5",
					"alarmsrv:due":           "chatter:hot|comsrv:1001:T:1=61000",
					"alarmsrv:journal":       "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=return alarm=1 from=cleared_unacknowledged to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=\n* event=chatter alarm=1 from=active_unacknowledged to=active_unacknowledged time=1000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=\n* event=escalate alarm=1 from=active_unacknowledged to=active_unacknowledged time=99000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=shift lead",
					"alarmsrv:notifications": "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=2 value=56.5 time=1000 text=return\n* kind=escalation alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=2 value=56.5 time=99000 text=shift lead",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":99000}`,
				},
			},
			{
				name: "a step, and the end of chattering", before: []step{twoSteps, raiseHot, {"alarm_resolve", "1", "ben", "3000"}, raiseHot}, key: "all", args: []string{"99000", "50"},
				reply: list("2", "0"),
				after: map[string]string{
					"alarmsrv:flood":         "minute=1 s0=2 s1=1 total=3",
					"alarmsrv:alarm:1":       "activated=2 description=at the inlet last_at=1000 level=Critical occurrences=2 raised_at=1000 recent=1000 1000 rule=hot source=comsrv:1001:T:1 state=active_unacknowledged title=Too hot value=56.5 waited=5000 waits_since=1000 worst=56.5",
					"alarmsrv:counts":        "active_unacknowledged:Critical=1 chattering=0 cleared_unacknowledged:Critical=0",
					"alarmsrv:due":           gone,
					"alarmsrv:journal":       "* event=raise alarm=1 from= to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=clear alarm=1 from=active_unacknowledged to=cleared_unacknowledged time=3000 by=ben level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=1 value=56.5 text=\n* event=return alarm=1 from=cleared_unacknowledged to=active_unacknowledged time=1000 by=rule:hot level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=\n* event=chatter alarm=1 from=active_unacknowledged to=active_unacknowledged time=1000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=\n* event=escalate alarm=1 from=active_unacknowledged to=active_unacknowledged time=99000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=shift lead\n* event=quiet alarm=1 from=active_unacknowledged to=active_unacknowledged time=99000 by=alarmsrv level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot occurrence=2 value=56.5 text=",
					"alarmsrv:notifications": "* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=1 value=56.5 time=1000 text=raise\n* kind=alarm alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=2 value=56.5 time=1000 text=return\n* kind=escalation alarm=1 level=Critical source=comsrv:1001:T:1 rule=hot title=Too hot description=at the inlet occurrence=2 value=56.5 time=99000 text=shift lead",
				},
				told: []string{
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":99000}`,
					`alarmsrv:new {"id":"1","from":"active_unacknowledged","state":"active_unacknowledged","level":"Critical","source":"comsrv:1001:T:1","title":"Too hot","by":"alarmsrv","time":99000}`,
				},
			},
		},
	}
}
