package rtdb_test

// armed is a write to an adjustment of channel 1001 that is about to leave.
func armed(point, id, hold, now string) step {
	return step{"comsrv_hold_arm", "1001", "A", point, id, hold, now, ""}
}

func settled(point, id string) step {
	return step{"comsrv_hold_settle", "1001", "A", point, id, "done"}
}

func comsrvHoldArm() contract {
	held := []step{armed("2", "a", "1000", "5000"), settled("2", "a")} // until 6000
	return contract{
		function: "comsrv_hold_arm", key: numberID(),
		args: []kind{oneOf("C", "A"), numberID(), commandID(), whole(0, 604800000), milliseconds(), optional(milliseconds())},
		examples: []example{
			{
				name: "the first of its point", key: "1001", args: []string{"A", "2", "a", "1000", "5000", ""}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=a A:2:next_until=6000", "comsrv:holds": "1001:A:2=6000"},
			},
			{
				name: "one that would hold longer", before: held, key: "1001", args: []string{"A", "2", "b", "5000", "5500", ""}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=b A:2:next_until=10500 A:2=6000"},
			},
			{
				name: "one that would hold shorter", before: held, key: "1001", args: []string{"A", "2", "b", "100", "5500", ""}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=b A:2:next_until=5600 A:2=6000", "comsrv:holds": "1001:A:2=5600"},
			},
			{
				name: "one that would hold for ever", before: held, key: "1001", args: []string{"A", "2", "b", "0", "5500", ""}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=b A:2=6000"},
			},
			{
				name: "after one of which nobody knows", before: []step{armed("2", "a", "1000", "5000")}, key: "1001",
				args: []string{"A", "2", "b", "9000", "5500", ""}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=b A:2:next_until=14500 A:2=6000"},
			},
			{
				name: "the one that ends it", before: held, key: "1001", args: []string{"A", "2", "s", "0", "6000", "6000"}, reply: "armed",
				after: map[string]string{"comsrv:1001:holds": "A:2:next=s A:2=6000"},
			},
			{
				name: "the one that would end it when it is renewed", before: append(held, armed("2", "b", "5000", "5900"), settled("2", "b")), key: "1001",
				args: []string{"A", "2", "s", "0", "6000", "6000"}, refused: "CONFLICT the value was renewed, or is safe already",
			},
			{
				name: "the one that would end it once more", before: append(held, armed("2", "b", "0", "5900"), settled("2", "b")), key: "1001",
				args: []string{"A", "2", "s", "0", "6000", "6000"}, refused: "CONFLICT the value was renewed, or is safe already",
			},
			{name: "nothing to note", key: "1001", args: []string{"A", "2", "a", "0", "5000", ""}, reply: "none"},
		},
	}
}

func comsrvHoldSettle() contract {
	both := []step{armed("2", "a", "1000", "5000"), settled("2", "a"), armed("2", "b", "5000", "5500")}
	return contract{
		function: "comsrv_hold_settle", key: numberID(), args: []kind{oneOf("C", "A"), numberID(), commandID(), oneOf("done", "refused")},
		examples: []example{
			{
				name: "the first of its point", before: both[:1], key: "1001", args: []string{"A", "2", "a", "done"}, reply: "settled",
				after: map[string]string{"comsrv:1001:holds": "A:2=6000"},
			},
			{
				name: "renewed", before: both, key: "1001", args: []string{"A", "2", "b", "done"}, reply: "settled",
				after: map[string]string{"comsrv:1001:holds": "A:2=10500", "comsrv:holds": "1001:A:2=10500"},
			},
			{
				name: "not renewed", before: both, key: "1001", args: []string{"A", "2", "b", "refused"}, reply: "settled",
				after: map[string]string{"comsrv:1001:holds": "A:2=6000"},
			},
			{
				name: "the first of its point, refused", before: both[:1], key: "1001", args: []string{"A", "2", "a", "refused"}, reply: "settled",
				after: map[string]string{"comsrv:1001:holds": gone, "comsrv:holds": gone},
			},
			{
				name: "ended by one that holds for ever", before: append(both[:2:2], armed("3", "c", "1", "1"), armed("2", "b", "0", "5500")), key: "1001",
				args: []string{"A", "2", "b", "done"}, reply: "settled",
				after: map[string]string{"comsrv:1001:holds": "A:3:next=c A:3:next_until=2", "comsrv:holds": "1001:A:3=2"},
			},
			{name: "another one was armed since", before: both, key: "1001", args: []string{"A", "2", "a", "done"}, reply: "past"},
			{name: "none was armed", before: both, key: "1001", args: []string{"C", "2", "b", "done"}, reply: "past"},
		},
	}
}

func comsrvHoldDue() contract {
	some := []step{armed("2", "a", "1000", "5000"), armed("3", "b", "500", "5000"), {"comsrv_hold_arm", "7", "C", "1", "c", "1001", "5000", ""}}
	return contract{
		function: "comsrv_hold_due", key: anyName(), args: []kind{milliseconds(), whole(0, 1000000), whole(1, 1000)},
		examples: []example{
			{name: "those that are due", before: some, key: "all", args: []string{"6000", "0", "10"}, reply: list("1001", "A", "3", "5500", "1001", "A", "2", "6000")},
			{name: "a page", before: some, key: "all", args: []string{"6001", "1", "1"}, reply: list("1001", "A", "2", "6000")},
			{name: "none", before: some, key: "all", args: []string{"5499", "0", "10"}, reply: list()},
		},
	}
}
