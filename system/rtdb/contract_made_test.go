package rtdb_test

import "strconv"

// madeContracts are those of channels that are made, started and stopped through
// the API.
func madeContracts() []contract {
	return []contract{comsrvMadeStore(), comsrvMadeDelete(), comsrvMadeList(), comsrvSwitch(), comsrvSwitches(), comsrvDrop()}
}

var madeSeven = step{"comsrv_made_store", "7", "id: 7\n"}

// manyMade is an index of so many channels from 1001 on, without their documents.
func manyMade(count int) step {
	filled := step{"ZADD", "comsrv:made"}
	for i := range count {
		channel := strconv.Itoa(1001 + i)
		filled = append(filled, channel, channel)
	}
	return filled
}

func comsrvMadeStore() contract {
	return contract{
		function: "comsrv_made_store", key: numberID(), args: []kind{words(1, 1048576)},
		examples: []example{
			{
				name: "a new one", before: []step{{"comsrv_made_store", "8", "id: 8"}}, key: "7", args: []string{"id: 7\n\tname"}, reply: "OK",
				after: map[string]string{"comsrv:made:7": "id: 7\n\tname", "comsrv:made": "7=7 8=8"},
			},
			{
				name: "in place of another, which was stopped by hand", before: []step{madeSeven, {"comsrv_switch", "7", "0"}, {"comsrv_switch", "8", "0"}},
				key: "7", args: []string{"new"}, reply: "OK", after: map[string]string{"comsrv:made:7": "new", "comsrv:switched": "8=0"},
			},
			{
				name: "one too many", before: []step{manyMade(5000)}, key: "7", args: []string{"id: 7"},
				refused: "FULL 5000 channels were made through the API already: remove some, or put them into channels.yaml",
			},
			{
				name: "the last that fits, anew", before: []step{manyMade(5000)}, key: "1001", args: []string{"id: 1001"}, reply: "OK",
				after: map[string]string{"comsrv:made:1001": "id: 1001"},
			},
		},
	}
}

func comsrvMadeDelete() contract {
	return contract{
		function: "comsrv_made_delete", key: numberID(),
		examples: []example{
			{
				name: "one of two", before: []step{madeSeven, {"comsrv_made_store", "8", "id: 8"}, {"comsrv_switch", "7", "0"}}, key: "7", reply: "OK",
				after: map[string]string{"comsrv:made:7": gone, "comsrv:made": "8=8", "comsrv:switched": gone},
			},
			{
				name: "one that never was", before: []step{madeSeven, {"comsrv_switch", "8", "0"}}, key: "8",
				refused: "NOT_FOUND no channel 8 was made through the API",
			},
		},
	}
}

func comsrvMadeList() contract {
	three := []step{{"comsrv_made_store", "1000", "c"}, madeSeven, {"comsrv_made_store", "20", "b"}}
	return contract{
		function: "comsrv_made_list", key: anyName(), args: []kind{whole(0, 4294967295), whole(1, 1000)},
		examples: []example{
			{name: "in the order of their numbers", before: three, key: "all", args: []string{"0", "1000"}, reply: list("7", "id: 7\n", "20", "b", "1000", "c")},
			{name: "a page", before: three, key: "all", args: []string{"7", "1"}, reply: list("20", "b")},
			{name: "after the last", before: three, key: "all", args: []string{"1000", "1"}, reply: list()},
		},
	}
}

func comsrvSwitch() contract {
	return contract{
		function: "comsrv_switch", key: numberID(), args: []kind{oneOf("", "0", "1")},
		examples: []example{
			{name: "stopped", key: "7", args: []string{"0"}, reply: "OK", after: map[string]string{"comsrv:switched": "7=0"}},
			{name: "started", before: []step{{"comsrv_switch", "7", "0"}}, key: "7", args: []string{"1"}, reply: "OK", after: map[string]string{"comsrv:switched": "7=1"}},
			{
				name: "as it says itself", before: []step{{"comsrv_switch", "7", "0"}, {"comsrv_switch", "8", "1"}}, key: "7", args: []string{""}, reply: "OK",
				after: map[string]string{"comsrv:switched": "8=1"},
			},
		},
	}
}

func comsrvSwitches() contract {
	return contract{
		function: "comsrv_switches", key: anyName(),
		examples: []example{
			{name: "in the order of their numbers", before: []step{{"comsrv_switch", "10", "0"}, {"comsrv_switch", "7", "1"}}, key: "all", reply: list("7", "1", "10", "0")},
			{name: "none", key: "all", reply: list()},
		},
	}
}

func comsrvDrop() contract {
	slow := step{"comsrv_ingest", "1001", "T", "5000", "slow", "1", "3", "4", "uncertain", "4", "5"}
	return contract{
		function: "comsrv_drop", key: numberID(), args: []kind{pointType()}, more: []kind{numberID()}, least: 1, most: 1000,
		examples: []example{
			{
				name: "with all that is beside them", before: []step{slow, ingestTwo}, key: "1001", args: []string{"T", "3", "2", "9"}, reply: "2",
				after: map[string]string{
					"comsrv:1001:T": "1=2.500000 4=5", "comsrv:1001:T:ts": "1=5000 4=5000", "comsrv:1001:T:q": gone, "comsrv:1001:T:g": "4=slow",
				},
			},
			{name: "of another type", before: []step{ingestTwo}, key: "1001", args: []string{"S", "1"}, reply: "0"},
		},
	}
}
