package rtdb_test

import (
	"strings"
	"testing"
)

func TestContractOfHissrv(t *testing.T) {
	t.Parallel()
	fulfil(t, hissrvContracts())
}

// The mapping of the examples, and two entries for it that wait.
var (
	configureBattery = step{"hissrv_configure", "battery", "comsrv:1001:T", "meas ure", "1", "dev=ice", "a,b", "1", "state of charge", "2", "power"}
	firstWaits       = step{"XADD", "hissrv:stream", "1-1", "mapping", "battery", "time", "1000", "points", "1 5.500000 7 -1.000000"}
	secondWaits      = step{"XADD", "hissrv:stream", "1-2", "mapping", "battery", "time", "2000", "points", "2 3.000000"}
)

const (
	batteryPrefix = `meas\ ure,channel=1001,type=T,dev\=ice=a\,b`
	firstEntry    = "1-1 mapping=battery time=1000 points=1 5.500000 7 -1.000000"
	secondEntry   = "1-2 mapping=battery time=2000 points=2 3.000000"
	firstText     = batteryPrefix + ` state\ of\ charge=5.500000,p7=-1.000000 1000`
	secondText    = batteryPrefix + ` power=3.000000 2000`
)

func hissrvContracts() []contract {
	return []contract{
		hissrvConfigure(), hissrvRetain(), hissrvConvert(), hissrvCollect(), hissrvFinish(), hissrvReject(), hissrvStatus(),
	}
}

func historySource() kind {
	channel, kindOf := numberID(), pointType()
	return kind{"comsrv:{channel}:{type}", func(text string) bool {
		parts := strings.Split(text, ":")
		return len(parts) == 3 && parts[0] == "comsrv" && channel.legal(parts[1]) && kindOf.legal(parts[2])
	}}
}

func hissrvConfigure() contract {
	const stored = "measurement=meas ure prefix=" + batteryPrefix + " source=comsrv:1001:T"
	other := step{"hissrv_configure", "other", "comsrv:1001:T", "m", "0"}
	return contract{
		function: "hissrv_configure", key: anID(),
		// The fourth and the fifth argument are there because the third one says so.
		args: []kind{historySource(), historyName(), oneOf("1"), historyName("channel", "type"), historyName()},
		more: []kind{numberID(), historyName()}, most: 100000,
		examples: []example{
			{
				name: "a new mapping", key: "battery", args: configureBattery[2:], reply: "OK",
				after: map[string]string{
					"hissrv:mapping:battery": stored, "hissrv:mapping:battery:fields": `1=state\ of\ charge 2=power`, "hissrv:sources": "comsrv:1001:T=battery",
				},
			},
			{
				name: "again with fewer fields", before: []step{configureBattery}, key: "battery", args: configureBattery[2:9], reply: "OK",
				after: map[string]string{"hissrv:mapping:battery:fields": `1=state\ of\ charge`},
			},
			{
				name: "without tags and fields, of another source", before: []step{configureBattery}, key: "battery", args: []string{"comsrv:7:S", "m", "0"}, reply: "OK",
				after: map[string]string{
					"hissrv:mapping:battery": "measurement=m prefix=m,channel=7,type=S source=comsrv:7:S", "hissrv:mapping:battery:fields": gone,
					"hissrv:sources": "comsrv:7:S=battery",
				},
			},
			{
				name: "in place of another mapping", before: []step{other}, key: "battery", args: configureBattery[2:7], reply: "OK",
				after: map[string]string{"hissrv:mapping:battery": stored, "hissrv:sources": "comsrv:1001:T=battery"},
			},
			{
				name: "moved away from a source that another one has taken", before: []step{configureBattery, other}, key: "battery",
				args: []string{"comsrv:1001:S", "m", "0"}, reply: "OK",
				after: map[string]string{
					"hissrv:mapping:battery": "measurement=m prefix=m,channel=1001,type=S source=comsrv:1001:S", "hissrv:mapping:battery:fields": gone,
					"hissrv:sources": "comsrv:1001:S=battery comsrv:1001:T=other",
				},
			},
			{
				name: "a tag twice", key: "battery", args: []string{"comsrv:1001:T", "m", "2", "a", "1", "a", "2"},
				refused: "INVALID tag 'a' is given twice",
			},
			{
				name: "too many tags", key: "battery", args: []string{"comsrv:1001:T", "m", "51"},
				refused: "INVALID number of tags '51' is not a whole number from 0 to 50",
			},
			{
				name: "fewer tags than told", key: "battery", args: []string{"comsrv:1001:T", "m", "2", "a", "1"},
				refused: "INVALID each tag and each field needs a name and a value, and at most 100000 fields are allowed",
			},
		},
	}
}

func hissrvRetain() contract {
	before := []step{configureBattery, {"hissrv_configure", "other", "comsrv:7:S", "m", "0"}, {"hissrv_configure", "third", "comsrv:8:S", "m", "0"}}
	return contract{
		function: "hissrv_retain", key: anyName(), more: []kind{anID()}, most: 5000,
		examples: []example{
			{
				name: "some", before: before, key: "all", args: []string{"battery", "unknown"}, reply: "2",
				after: map[string]string{"hissrv:sources": "comsrv:1001:T=battery"},
			},
			{name: "all", before: before, key: "all", args: []string{"third", "battery", "other"}, reply: "0"},
			{name: "none", before: before, key: "all", reply: "3", after: map[string]string{"hissrv:sources": gone}},
		},
	}
}

func hissrvConvert() contract {
	return contract{
		function: "hissrv_convert", key: anID(), args: []kind{milliseconds()}, more: []kind{numberID(), decimal()}, least: 1, most: 1000,
		examples: []example{
			{
				name: "with and without the name of a field", before: []step{configureBattery}, key: "battery",
				args: []string{"1000", "1", "5.500000", "7", "-1.000000"}, reply: firstText,
			},
			{
				name: "without names", before: []step{{"hissrv_configure", "plain", "comsrv:1001:T", "m", "0"}}, key: "plain",
				args: []string{"0", "1", "5"}, reply: "m,channel=1001,type=T p1=5 0",
			},
			{name: "none", before: []step{configureBattery}, key: "other", args: []string{"1000", "1", "5.5"}, refused: "NOT_FOUND no mapping 'other'"},
		},
	}
}

func hissrvCollect() contract {
	take := step{"hissrv_collect", "feed", "new", "10"}
	return contract{
		function: "hissrv_collect", key: anID(), args: []kind{oneOf("new", "pending"), whole(1, 1000)},
		examples: []example{
			{
				name: "new ones", before: []step{configureBattery, firstWaits, secondWaits}, key: "feed", args: []string{"new", "10"},
				reply: list("1-1", firstText, "1-2", secondText),
				after: map[string]string{"hissrv:stream": firstEntry + "\n" + secondEntry + "\ngroup hissrv 1-1@feed 1-2@feed"},
			},
			{
				name: "no more than asked for", before: []step{configureBattery, firstWaits, secondWaits}, key: "feed", args: []string{"new", "1"},
				reply: list("1-1", firstText),
				after: map[string]string{"hissrv:stream": firstEntry + "\n" + secondEntry + "\ngroup hissrv 1-1@feed"},
			},
			{
				name: "none is new", before: []step{configureBattery, firstWaits, take}, key: "feed", args: []string{"new", "10"}, reply: list(),
			},
			{
				name: "those of before", before: []step{configureBattery, firstWaits, take, secondWaits}, key: "feed", args: []string{"pending", "10"},
				reply: list("1-1", firstText),
			},
			{
				name: "those of another consumer are not mine", before: []step{configureBattery, firstWaits, take}, key: "other", args: []string{"pending", "10"},
				reply: list(),
			},
			{
				name: "one whose mapping is gone becomes a dead letter", before: []step{firstWaits}, key: "feed", args: []string{"new", "10"}, reply: list(),
				after: map[string]string{
					"hissrv:stream": "group hissrv", "hissrv:dead": "* line=1 5.500000 7 -1.000000 reason=no mapping battery time=1000",
				},
			},
			{
				name: "one dead letter too many", before: []step{firstWaits, {"FILL", "hissrv:dead", "10000"}}, key: "feed", args: []string{"new", "10"}, reply: list(),
				after: map[string]string{"hissrv:stream": "group hissrv", "hissrv:counters": "dead_dropped=1"},
			},
			{
				name: "one that was taken away meanwhile leaves no letter", before: []step{configureBattery, firstWaits, take, {"XDEL", "hissrv:stream", "1-1"}},
				key: "feed", args: []string{"pending", "10"}, reply: list(), after: map[string]string{"hissrv:stream": "group hissrv"},
			},
			{name: "before anything was fed", key: "feed", args: []string{"new", "10"}, reply: list()},
		},
	}
}

func hissrvFinish() contract {
	waiting := []step{configureBattery, firstWaits, secondWaits, {"hissrv_collect", "feed", "new", "10"}}
	return contract{
		function: "hissrv_finish", key: anyName(), more: []kind{entry()}, least: 1, most: 1000,
		examples: []example{
			{
				name: "one of two", before: waiting, key: "batch", args: []string{"1-1"}, reply: "1",
				after: map[string]string{"hissrv:stream": secondEntry + "\ngroup hissrv 1-2@feed", "hissrv:counters": "written=1"},
			},
			{
				name: "all, and one that never was", before: waiting, key: "batch", args: []string{"1-1", "1-2", "5-0"}, reply: "2",
				after: map[string]string{"hissrv:stream": "group hissrv", "hissrv:counters": "written=2"},
			},
			{
				name: "twice counts once", before: append(waiting, step{"hissrv_finish", "batch", "1-1"}), key: "batch", args: []string{"1-1"}, reply: "0",
			},
			{name: "before anything was fed", key: "batch", args: []string{"1-1"}, reply: "0"},
		},
	}
}

func hissrvReject() contract {
	waiting := []step{configureBattery, firstWaits, {"hissrv_collect", "feed", "new", "10"}}
	return contract{
		function: "hissrv_reject", key: anyName(), args: []kind{entry(), words(1, 1<<20), anyText(), milliseconds()},
		examples: []example{
			{
				name: "one", before: waiting, key: "batch", args: []string{"1-1", firstText, "field type\nconflict", "9000"}, reply: "OK",
				after: map[string]string{
					"hissrv:stream": "group hissrv", "hissrv:dead": "* line=" + firstText + " reason=field type?conflict time=9000",
				},
			},
			{
				name: "a long reason", before: waiting, key: "batch", args: []string{"1-1", "x", strings.Repeat("é", 300), "9000"}, reply: "OK",
				after: map[string]string{"hissrv:stream": "group hissrv", "hissrv:dead": "* line=x reason=" + strings.Repeat("é", 250) + " time=9000"},
			},
			{
				name: "twice leaves one letter", before: append(waiting, step{"hissrv_reject", "batch", "1-1", "x", "", "9000"}),
				key: "batch", args: []string{"1-1", "x", "", "9000"}, reply: "OK",
			},
			{
				name: "one letter too many", before: append(waiting, step{"FILL", "hissrv:dead", "10000"}), key: "batch", args: []string{"1-1", "x", "", "9000"}, reply: "OK",
				after: map[string]string{"hissrv:stream": "group hissrv", "hissrv:counters": "dead_dropped=1"},
			},
			{name: "before anything was fed", key: "batch", args: []string{"1-1", "x", "", "9000"}, reply: "OK"},
		},
	}
}

func hissrvStatus() contract {
	return contract{
		function: "hissrv_status", key: anyName(),
		examples: []example{
			{
				name: "all four", key: "all", reply: list("2", "7", "3", "1"),
				before: []step{firstWaits, secondWaits, {"HSET", "hissrv:counters", "written", "7", "dropped", "3"}, {"XADD", "hissrv:dead", "1-1", "line", "x"}},
			},
			{name: "before anything was fed", key: "all", reply: list("0", "0", "0", "0")},
		},
	}
}
