package rtdb_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func modelUpsert() contract {
	moved := `{"id":"r1","mapping":{"channel":1003,"data":{"soc":"comsrv:1001:S:3"}}}`
	full := step{"ZADD", "modsrv:models"}
	for i := range 5000 {
		full = append(full, "0", "x"+strconv.Itoa(i))
	}
	templates := []step{upsertUnit, upsertRack}
	again := map[string]string{"reverse:1001:T": "11=m2:temp r1:power", "reverse:1002:A": "2=m2:go r1:limit"}
	c := contract{
		function: "model_upsert", key: oneOf("r1"), // the model itself says that this is its id
		args: []kind{document(rackModel)}, more: []kind{optional(anID())}, most: 1,
		examples: []example{
			{
				name: "a new one of two channels that follows a template", before: templates, key: "r1", args: []string{rackModel}, reply: "OK",
				after: became(inUse(2, ofTemplates()), inUse(3, ofR1())),
			},
			{
				name: "one without a template that shares points", before: wholeSite[:3], key: "m2", args: []string{freeModel, ""}, reply: "OK",
				after: became(inUse(3, ofR1()), inUse(4, ofWholeSite())),
			},
			{
				name: "the same again", before: wholeSite, key: "r1", args: []string{rackModel}, reply: "OK",
				after: became(inUse(4, ofWholeSite()), inUse(5, with(ofWholeSite(), again))),
			},
			{
				name: "another channel, other points and no template any more", before: wholeSite, key: "r1", args: []string{moved}, reply: "OK",
				after: became(inUse(4, ofWholeSite()), inUse(5, with(ofTemplates(), ofM2(), map[string]string{
					"model:r1": storedModel(moved, "1003", "", "soc 1001 S 3", "", ""), "models": "m2=0 r1=0", "models:by_channel:1003": "r1=0",
					"reverse:1001:S": "3=r1:soc",
				}))),
			},
			{
				name: "a full site", before: []step{upsertUnit, upsertRack, full}, key: "r1", args: []string{rackModel},
				refused: "FULL a site has at most 5000 models",
			},
			{
				name: "another one in a full site", before: []step{{"model_upsert", "r1", moved}, {"ZADD", "modsrv:models", "0", "m2"}, append(slices.Clone(full[:len(full)-4]), "0", "r1")},
				key: "r1", args: []string{`{"id":"r1","mapping":{"channel":1003}}`}, reply: "OK",
				after: map[string]string{
					"modsrv:model:r1": storedModel(`{"id":"r1","mapping":{"channel":1003}}`, "1003", "", "", "", ""), "modsrv:reverse:1001:S": gone,
					"modsrv:keys": "model:r1 models models:by_channel:1003", "modsrv:version": "2",
				},
			},
			{name: "of a template that is not there", key: "r1", args: []string{rackModel}, refused: "NOT_FOUND no template 'rack'"},
			{name: "for somebody who prepares nothing", before: templates, key: "r1", args: []string{rackModel, "me"}, refused: otherPreparer},
		},
	}
	for _, bad := range badModels() {
		c.examples = append(c.examples, example{
			name: fmt.Sprintf("%.100q", bad[0]), before: wholeSite, key: "r1", args: []string{bad[0]}, refused: "INVALID " + bad[1],
		})
	}
	return c
}

// badModels are documents that are no model "r1", and why.
func badModels() [][2]string {
	of := func(text string) string { return `{"id":"r1",` + text + `}` }
	mapping := func(text string) string { return of(`"mapping":{"channel":1001` + text + `}`) }
	rack := func(text string) string { return of(`"template":"rack","mapping":{"channel":1001` + text + `}`) }
	computed := func(text string) string {
		return of(`"mapping":{"channel":1001,"data":{"a":1}},"computed":[` + text + `]`)
	}
	const (
		notPoint = " is not a point: use a number of 1 or more, 'S:3' or 'comsrv:1002:S:3'"
		digits   = "mapping: channel, offset and points must be whole numbers, written with digits alone"
		idForm   = "use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"
	)
	return [][2]string{
		{`{"id":"r1"`, "the model is not a JSON object"},
		{`"r1"`, "the model is not a JSON object"},
		{`{"id":"r2","mapping":{"channel":1}}`, "the model calls itself 'r2' and the key 'r1'"},
		{mapping(`},"metadata":{"a":0x10`), "the model is not JSON at '0x10'"},
		{mapping(`},"metadata":{"a":nan`), "the model is not JSON at 'nan'"},
		{mapping(`},"metadata":{"a":1e400`), "the model is not JSON at '1e400'"},
		{mapping(`},"name":"a` + "\x01" + `","x":{`), "the model holds a control character"},
		{mapping("") + "\x00x", "the model is not JSON at '?x'"},
		{of(`"name":5,"mapping":{"channel":1001}`), "name must be a text"},
		{of(`"template":5,"mapping":{"channel":1001}`), "template must be a text"},
		{of(`"template":"a b","mapping":{"channel":1001}`), "template 'a b': " + idForm},
		{of(`"mapping":{"channel":1001},"metadata":[]`), "metadata must be an object"},
		{of(`"mapping":{"channel":1001},"metadata":[1]`), "metadata must be an object"},
		{of(`"mapping":{"channel":1001},"computed":{}`), "computed must be a list"},
		{of(`"name":"x"`), "mapping.channel is missing"},
		{of(`"mapping":null`), "mapping.channel is missing"},
		{of(`"mapping":{"channel":"1001"}`), "mapping.channel is missing"},
		{of(`"mapping":{"channel":0}`), "mapping.channel '0' is not a number of 1 or more"},
		{of(`"mapping":{"channel":4294967296}`), "mapping.channel '4294967296' is not a number of 1 or more"},
		{of(`"mapping":{"channel":1001.5}`), digits},
		{of(`"mapping":{"channel":1e3}`), digits},
		{mapping(`,"data":[]`), "data must be an object: names and their points"},
		{mapping(`,"action":[1]`), "action must be an object: names and their points"},
		{mapping(`,"data":7`), "mapping.data must map names to points"},
		{mapping(`,"offset":"1"`), "mapping.offset must be a whole number"},
		{mapping(`,"offset":1`), "mapping.offset counts the fields of a template, and the model has none"},
		{rack(`,"offset":4294967297`), "mapping.offset must be a whole number"},
		{rack(`,"offset":-1`), "mapping.data.power 'T:0' is not a point: use a number of 1 or more, 'S:3' or 'comsrv:1002:S:3'"},
		{rack(`,"offset":4294967295`), "mapping.data.power '4294967296' is not a number of 1 or more"},
		{rack(`,"data":{"volts":1}`), "mapping.data: the template has no 'volts'"},
		{rack(`,"action":{"limit":"S:1"}`), "a point of type 'S' cannot be written: use C or A"},
		{mapping(`,"data":{"a b":1}`), "mapping.data name 'a b': " + idForm},
		{mapping(`,"data":{"a":0}`), "mapping.data.a '0'" + notPoint},
		{mapping(`,"data":{"a":1.5}`), digits},
		{mapping(`,"data":{"a":true}`), "mapping.data.a 'boolean'" + notPoint},
		{mapping(`,"data":{"a":{}}`), "mapping.data.a 'table'" + notPoint},
		{mapping(`,"data":{"a":"S:03"}`), "mapping.data.a 'S:03'" + notPoint},
		{mapping(`,"data":{"a":"X:3"}`), "mapping.data.a 'X:3'" + notPoint},
		{mapping(`,"data":{"a":4294967296}`), "mapping.data.a '4294967296' is not a number of 1 or more"},
		{mapping(`,"data":{"a":"comsrv:0:T:1"}`), "mapping.data.a 'comsrv:0:T:1' is not of the form comsrv:{channel}:{T|S|C|A}:{point}"},
		{computed(`null`), "computed[0].name must be a text"},
		{computed(`{"name":"c"}`), "computed[0].of must hold 1 to 100 names"},
		{computed(`{"name":"a","expression":"1"}`), "computed a has the name of a data value"},
		{computed(`{"name":"c","expression":"b"}`), "computed c needs 'b', which the model does not have"},
		{computed(`{"name":"c","expression":"c"}`), "computed values depend on each other in a circle: c -> c"},
		{computed(strings.TrimSuffix(strings.Repeat(`{"name":"c","expression":"a"},`, 201), ",")), "computed has more than 200 entries"},
	}
}

func modelUpsertStaged() contract {
	templates := []step{upsertUnit, upsertRack}
	return contract{
		function: "model_upsert", key: oneOf("m2"), args: []kind{document(freeModel)}, more: []kind{optional(anID())}, most: 1,
		examples: []example{
			{
				name: "prepared, not put in use", before: staging([]step{upsertUnit, upsertRack, upsertR1}), key: "m2", args: []string{freeModel, "me"}, reply: "OK",
				after: below("modsrv:staged:", ofM2()),
			},
			{
				name: "beside another one", before: staging(templates, upsertUnit, upsertRack, upsertR1), key: "m2", args: []string{freeModel, "me"}, reply: "OK",
				after: became(prepared(ofR1()), prepared(ofWholeSite())),
			},
			{
				name: "of a template that is in use alone", before: staging(templates), key: "r1", args: []string{rackModel, "me"},
				refused: "NOT_FOUND no template 'rack'",
			},
			{name: "for somebody else", before: staging(templates), key: "m2", args: []string{freeModel, "you"}, refused: otherPreparer},
		},
	}
}

func modelGet() contract {
	return contract{
		function: "model_get", key: anID(),
		examples: []example{
			{name: "as stored", before: wholeSite, key: "r1", reply: rackModel},
			{name: "none", before: wholeSite, key: "rack", refused: "NOT_FOUND no model 'rack'"},
		},
	}
}

func modelList() contract {
	third := step{"model_upsert", "r2", `{"id":"r2","template":"rack","mapping":{"channel":1002}}`}
	fourth := step{"model_upsert", "r3", `{"id":"r3","template":"rack","mapping":{"channel":1001}}`}
	before := append(slices.Clone(wholeSite), fourth, third)
	all := func(arg ...string) []string { return arg }
	return contract{
		function: "model_list", key: anyName(), args: []kind{optional(anID()), whole(1, 1000), optional(anID()), optional(numberID())},
		examples: []example{
			{name: "the first page", before: before, key: "all", args: all("", "2", "", ""), reply: list("r1", freeModel, rackModel)},
			{name: "the next page", before: before, key: "all", args: all("r1", "2", "", ""), reply: list("r3", third[2], fourth[2])},
			{name: "the page after the last one", before: before, key: "all", args: all("r3", "2", "", ""), reply: list("")},
			{name: "all at once", before: before, key: "all", args: all("", "5", "", ""), reply: list("", freeModel, rackModel, third[2], fourth[2])},
			{name: "of a template", before: before, key: "all", args: all("", "2", "rack", ""), reply: list("r2", rackModel, third[2])},
			{name: "of a template, the next page", before: before, key: "all", args: all("r2", "2", "rack", ""), reply: list("", fourth[2])},
			{name: "of a template that nobody follows directly", before: before, key: "all", args: all("", "9", "unit", ""), reply: list("")},
			{name: "of a channel", before: before, key: "all", args: all("", "9", "", "1002"), reply: list("", freeModel, third[2])},
			{name: "of a channel after an id", before: before, key: "all", args: all("m2", "1", "", "1002"), reply: list("r2", third[2])},
			{name: "of both", before: before, key: "all", args: all("", "9", "rack", "1001"), reply: list("", rackModel, fourth[2])},
			{name: "of both, a page of which none is of the channel", before: before, key: "all", args: all("", "1", "rack", "1002"), reply: list("r1")},
			{name: "without any", key: "all", args: all("", "9", "", ""), reply: list("")},
		},
	}
}

func modelDelete() contract {
	return contract{
		function: "model_delete", key: anID(),
		examples: []example{
			{
				name: "the last one leaves nothing", before: []step{upsertM2}, key: "m2", reply: "OK",
				after: became(inUse(1, ofM2()), inUse(2, nil)),
			},
			{
				name: "one that follows a template leaves that", before: wholeSite[:3], key: "r1", reply: "OK",
				after: became(inUse(3, ofR1()), inUse(4, ofTemplates())),
			},
			{
				name: "one that shares points", before: wholeSite, key: "r1", reply: "OK",
				after: became(inUse(4, ofWholeSite()), inUse(5, with(ofTemplates(), ofM2()))),
			},
			{
				name: "not what somebody prepares", before: staging([]step{upsertM2}, upsertM2), key: "m2", reply: "OK",
				after: became(inUse(1, ofM2()), inUse(2, nil)),
			},
			{name: "none", before: wholeSite, key: "rack", refused: "NOT_FOUND no model 'rack'"},
		},
	}
}

func modelExpand() contract {
	const (
		power = `{"max":100,"min":-100,"name":"power","point":"comsrv:1001:T:11","unit":"kW"}`
		soc   = `{"name":"soc","point":"comsrv:1001:S:3","unit":"%"}`
		r1    = `{"id":"r1","name":"Rack 1","template":"rack","templates":["unit","rack"],"data":[` + power + `,{"name":"fault","point":"comsrv:1001:S:11"},` + soc +
			`],"action":[{"max":50.5,"min":-50,"name":"limit","point":"comsrv:1002:A:2"},{"name":"start","point":"comsrv:1001:C:11","value_type":"bool"},` +
			`{"min":0,"name":"level","point":"comsrv:1001:C:12","value_type":"integer"}],"computed":[` + halfFormula + `,` + restFormula +
			`],"unmapped":[],"metadata":{"data":{},"floor":2,"maker":"acme","point":1.5}}`
		bare = `{"id":"r1","template":"rack","mapping":{"channel":7,"data":{"fault":9}},"computed":[{"name":"b","expression":"c + 0.30000000000000004"},` +
			`{"name":"c","function":"max","of":["fault"]}]}`
		expanded = `{"id":"r1","name":"","template":"rack","templates":["unit","rack"],"data":[{"name":"fault","point":"comsrv:7:S:9"}],"action":[],"computed":[` +
			`{"function":"max","name":"c","of":["fault"]},{"expression":"c + 0.30000000000000004","name":"b"}],` +
			`"unmapped":["power","soc","limit","start","level","half"],"metadata":{"data":{},"maker":"acme","point":1.5}}`
	)
	c := contract{
		function: "model_expand", key: oneOf("r1"), more: []kind{document(rackModel)}, most: 1,
		examples: []example{
			{name: "one that is given, and not stored", before: []step{upsertUnit, upsertRack}, key: "r1", args: []string{rackModel}, reply: r1},
			{name: "one that is stored", before: wholeSite, key: "r1", reply: r1},
			{name: "one that is given in place of a stored one", before: wholeSite, key: "r1", args: []string{bare}, reply: expanded},
			{
				name: "one without a template", before: wholeSite, key: "m2", reply: `{"id":"m2","name":"","template":"","templates":[],"data":[` +
					`{"name":"soc","point":"comsrv:1002:T:3"},{"name":"temp","point":"comsrv:1001:T:11"}],"action":[{"name":"go","point":"comsrv:1002:A:2"}],` +
					`"computed":[],"unmapped":[],"metadata":{}}`,
			},
			{name: "of a template that is not there", key: "r1", args: []string{rackModel}, refused: "NOT_FOUND no template 'rack'"},
			{name: "none", before: wholeSite, key: "rack", refused: "NOT_FOUND no model 'rack'"},
		},
	}
	for _, bad := range badModels() {
		c.examples = append(c.examples, example{
			name: fmt.Sprintf("%.100q", bad[0]), before: []step{upsertUnit, upsertRack}, key: "r1", args: []string{bad[0]}, refused: "INVALID " + bad[1],
		})
	}
	return c
}

func modelReverseLookup() contract {
	return contract{
		function: "model_reverse_lookup", key: numberID(), args: []kind{pointType(), numberID()},
		examples: []example{
			{name: "a value of two models", before: wholeSite, key: "1001", args: []string{"T", "11"}, reply: list("r1", "power", "m2", "temp")},
			{name: "an action of two models", before: wholeSite, key: "1002", args: []string{"A", "2"}, reply: list("r1", "limit", "m2", "go")},
			{
				name: "after one of them is gone", before: append(slices.Clone(wholeSite), step{"model_delete", "r1"}), key: "1001", args: []string{"T", "11"},
				reply: list("m2", "temp"),
			},
			{
				name: "where a model was before", before: append(slices.Clone(wholeSite), step{"model_upsert", "m2", `{"id":"m2","mapping":{"channel":1002}}`}), key: "1002",
				args: []string{"T", "3"}, reply: list(),
			},
			{name: "a point that no model names", before: wholeSite, key: "1001", args: []string{"T", "12"}, reply: list()},
			{name: "another type", before: wholeSite, key: "1001", args: []string{"A", "11"}, reply: list()},
		},
	}
}

// A model with values of three hashes, and one computed value of each form.
const mixedModel = `{"id":"mix","mapping":{"channel":1001,"data":{"a":1,"b":2,"c":"S:1","d":"comsrv:1002:T:1"}},"computed":[` +
	`{"name":"spread","expression":"most - least"},{"name":"total","function":"sum","of":["a","b"]},{"name":"gap","function":"difference","of":["a","b"]},` +
	`{"name":"mid","function":"mean","of":["a","b"]},{"name":"least","function":"min","of":["a","b"]},{"name":"most","function":"max","of":["a","b"]},` +
	`{"name":"twice","function":"scale","of":["a"],"factor":2,"offset":-1},{"name":"share","expression":"a / c"},` +
	`{"name":"far","expression":"abs(d) + 1"},{"name":"two","expression":"-(1 - 3)"}]}`

const mixedLayout = "a 1001 T 1\nb 1001 T 2\nc 1001 S 1\nd 1002 T 1"

// mixed is what model_read replies for the model: the values of its hashes, then
// the computed ones, given as numbers (- for none), times and qualities with
// spaces between.
func mixed(telemetry, signal, other any, numbers, times, qualities string) any {
	texts := func(line string) any {
		var all []any
		for _, text := range strings.Fields(line) {
			if text == "-" {
				all = append(all, nil)
			} else {
				all = append(all, text)
			}
		}
		return all
	}
	return list(mixedLayout, telemetry, signal, other,
		list(texts("most least spread total gap mid twice share far two"), texts(numbers), texts(times), texts(qualities)))
}

func modelRead() contract {
	upsert := step{"model_upsert", "mix", mixedModel}
	telemetry := step{"comsrv_ingest", "1001", "T", "5000", "default", "0", "1", "2.500000", "2", "-1.000000"}
	signal := step{"comsrv_ingest", "1001", "S", "4000", "default", "0", "1", "2"}
	other := step{"comsrv_ingest", "1002", "T", "6000", "default", "0", "1", "-3"}
	before := func(more ...step) []step { return append([]step{upsert}, more...) }
	a, c, d := list("2.500000", "-1.000000"), list("2"), list("-3")
	aTimes := list("5000", "5000")
	const (
		numbers   = "2.500000 -1.000000 3.500000 1.500000 3.500000 0.750000 4.000000 1.250000 4.000000 2.000000"
		noShare   = "2.500000 -1.000000 3.500000 1.500000 3.500000 0.750000 4.000000 - 4.000000 2.000000"
		nothing   = "- - - - - - - - - 2.000000"
		times     = "5000 5000 5000 5000 5000 5000 5000 5000 6000 7000"
		allGood   = "good good good good good good good good good good"
		uncertain = "uncertain uncertain uncertain uncertain uncertain uncertain uncertain "
	)
	return contract{
		function: "model_read", key: anID(), args: []kind{milliseconds()},
		examples: []example{
			{
				name: "all good", before: before(telemetry, signal, other), key: "mix", args: []string{"7000"},
				reply: mixed(list(a, aTimes, list()), list(c, list("4000"), list()), list(d, list("6000"), list()), numbers, times, allGood),
			},
			{
				name: "one uncertain, one never read, one stale: the worst is that of the result", key: "mix", args: []string{"20000"},
				before: before(step{"comsrv_ingest", "1001", "T", "15000", "default", "1", "1", "2.500000", "uncertain", "2", "-1.000000"}, other),
				reply: mixed(list(a, list("15000", "15000"), list("uncertain", "good")), list(list(nil), list(nil), list()), list(d, list("6000"), list("stale")),
					noShare, "15000 15000 15000 15000 15000 15000 15000 15000 6000 20000", uncertain+"bad stale good"),
			},
			{
				name: "stale is worse than uncertain", key: "mix", args: []string{"20000"},
				before: before(step{"comsrv_ingest", "1001", "T", "5000", "slow", "1", "1", "2.500000", "uncertain", "2", "-1.000000"}, other),
				reply: mixed(list(a, aTimes, list("uncertain", "stale")), list(list(nil), list(nil), list("bad")), list(d, list("6000"), list("stale")),
					noShare, "5000 5000 5000 5000 5000 5000 5000 5000 6000 20000", "stale stale stale stale stale stale uncertain bad stale good"),
			},
			{
				name: "fresh through its poll group, and bad by a mark", key: "mix", args: []string{"16000"},
				before: before(
					step{"comsrv_ingest", "1001", "T", "5000", "slow", "0", "1", "2.500000", "2", "-1.000000"}, step{"comsrv_ingest", "1001", "T", "9000", "slow", "0"},
					signal, other, step{"comsrv_mark", "1002", "bad", "6000"},
				),
				reply: mixed(list(a, aTimes, list("good", "good")), list(c, list("4000"), list("stale")), list(d, list("6000"), list("bad")),
					numbers, "5000 5000 5000 5000 5000 5000 5000 5000 6000 16000", "good good good good good good good stale bad good"),
			},
			{
				name: "a division by zero", before: before(telemetry, step{"comsrv_ingest", "1001", "S", "4000", "default", "0", "1", "0"}, other), key: "mix", args: []string{"7000"},
				reply: mixed(list(a, aTimes, list()), list(list("0"), list("4000"), list()), list(d, list("6000"), list()), noShare, times,
					strings.Replace(allGood, "good good good good good good good good", "good good good good good good good bad", 1)),
			},
			{
				name: "never read", before: before(), key: "mix", args: []string{"7000"},
				reply: mixed(list(list(nil, nil), list(nil, nil), list()), list(list(nil), list(nil), list()), list(list(nil), list(nil), list()),
					nothing, "0 0 0 0 0 0 0 0 0 7000", "bad bad bad bad bad bad bad bad bad good"),
			},
			{
				name: "nothing but a constant", before: []step{{"model_upsert", "k", `{"id":"k","mapping":{"channel":7},"computed":[{"name":"k","expression":"0 * -1"}]}`}},
				key: "k", args: []string{"7000"}, reply: list("", list(list("k"), list("0.000000"), list("7000"), list("good"))),
			},
			{name: "nothing at all", before: []step{{"model_upsert", "k", `{"id":"k","mapping":{"channel":7}}`}}, key: "k", args: []string{"7000"}, reply: list("")},
			{name: "none", before: before(telemetry), key: "k", args: []string{"7000"}, refused: "NOT_FOUND no model 'k'"},
		},
	}
}

func modelWrite() contract {
	c := contract{
		function: "model_write", key: anID(), args: []kind{anID(), anID(), decimal(), milliseconds(), milliseconds(), words(1, 200)},
	}
	// queued is what is there after a command of number was put on a point.
	queued := func(channel, kind, point, number string) map[string]string {
		return map[string]string{
			"comsrv:" + channel + ":command:c1": "deadline=6000 issued=1000 origin=api point=" + point + " state=queued time=1000 type=" + kind +
				" value=" + number + " (expires in 60 min)",
			"comsrv:" + channel + ":commands": "* id=c1 type=" + kind + " point=" + point + " value=" + number + " issued=1000 deadline=6000 origin=api",
		}
	}
	for _, e := range []struct{ model, action, number, channel, kind, point string }{
		{"m2", "go", "-12.500000", "1002", "A", "2"},
		{"r1", "limit", "50.500000", "1002", "A", "2"},
		{"r1", "limit", "-50.000000", "1002", "A", "2"},
		{"r1", "start", "0", "1001", "C", "11"},
		{"r1", "start", "1.000000", "1001", "C", "11"},
		{"r1", "level", "7.000000", "1001", "C", "12"},
	} {
		c.examples = append(c.examples, example{
			name: e.model + "." + e.action + " = " + e.number, before: wholeSite, key: e.model, args: []string{e.action, "c1", e.number, "1000", "6000", "api"},
			reply: "comsrv:" + e.channel + ":" + e.kind + ":" + e.point, after: queued(e.channel, e.kind, e.point, e.number),
		})
	}
	for _, e := range []struct{ model, action, number, refused string }{
		{"r1", "limit", "50.500001", "INVALID action 'limit' takes -50 to 50.5, not 50.500001"},
		{"r1", "limit", "-50.000001", "INVALID action 'limit' takes -50 to 50.5, not -50.000001"},
		{"r1", "level", "-1", "INVALID action 'level' takes 0 to any, not -1"},
		{"r1", "level", "7.5", "INVALID action 'level' takes whole numbers, not 7.5"},
		{"r1", "start", "2", "INVALID action 'start' takes 0 or 1, not 2"},
		{"r1", "start", "0.5", "INVALID action 'start' takes 0 or 1, not 0.5"},
		{"r1", "soc", "1", "NOT_FOUND model 'r1' has no action 'soc'"},
		{"r1", "limi", "1", "NOT_FOUND model 'r1' has no action 'limi'"},
		{"r9", "limit", "1", "NOT_FOUND no model 'r9'"},
	} {
		c.examples = append(c.examples, example{
			name: e.model + "." + e.action + " = " + e.number, before: wholeSite, key: e.model, args: []string{e.action, "c1", e.number, "1000", "6000", "api"}, refused: e.refused,
		})
	}
	first := append(step{"model_write", "m2"}, c.examples[0].args...)
	c.examples = append(c.examples, []example{
		{
			name: "the same id again", before: append(slices.Clone(wholeSite), first), key: "m2", args: first[2:], reply: "comsrv:1002:A:2",
		},
		{
			name: "with no time left", before: wholeSite, key: "m2", args: []string{"go", "c1", "1", "1000", "1000", "api"},
			refused: "EXPIRED the deadline is not after the time of issue",
		},
		{
			name: "too many wait", before: append(slices.Clone(wholeSite), step{"FILL", "comsrv:1002:commands", "1000"}), key: "m2", args: first[2:],
			refused: "FULL channel 1002 has 1000 commands waiting: is comsrv running?",
		},
	}...)
	return c
}

func stageBegin() contract {
	return contract{
		function: "model_stage_begin", key: anyName(), args: []kind{anID()},
		examples: []example{
			{name: "of the first site", key: "all", args: []string{"me"}, reply: "0", after: prepared(nil)},
			{name: "beside one in use", before: wholeSite, key: "all", args: []string{"me"}, reply: "4", after: prepared(nil)},
			{
				name: "in place of one that somebody else prepared", before: staging(wholeSite[:2], wholeSite...), key: "all", args: []string{"you"}, reply: "2",
				after: with(became(prepared(ofWholeSite()), nil), map[string]string{"modsrv:staged:owner": "you"}),
			},
		},
	}
}

func stageCommit() contract {
	unit := `{"id":"unit","data":[{"name":"power"}]}`
	wide := step{"model_template_upsert", "unit", unit}
	ofWide := with(ofM2(), map[string]string{"template:unit": unit, "templates": "unit=0"})
	library := func(name string) map[string]string { return map[string]string{"modsrv:library": name} }
	const changed = "CONFLICT the models were changed while this site was prepared: prepare it again"
	whole := staging(nil, wholeSite...)
	return contract{
		function: "model_stage_commit", key: anyName(), args: []kind{milliseconds(), anID(), words(1, 100)},
		examples: []example{
			{
				name: "the first site", before: whole, key: "all", args: []string{"0", "me", "1.0:abc"}, reply: list("2", "2"),
				after: with(became(prepared(ofWholeSite()), inUse(1, ofWholeSite())), library("1.0:abc")),
			},
			{
				name: "in place of everything", before: staging(wholeSite[:3], wide, upsertM2), key: "all", args: []string{"3", "me", "1.0:abc"}, reply: list("1", "1"),
				after: with(became(with(inUse(3, ofR1()), prepared(ofWide)), inUse(4, ofWide)), library("1.0:abc")),
			},
			{
				name: "nothing at all, by another library", key: "all", args: []string{"1", "me", "1.1:def"}, reply: list("0", "0"),
				before: staging(append(slices.Clone(whole), step{"model_stage_commit", "all", "0", "me", "1.0:abc"})),
				after:  with(became(with(inUse(1, ofWholeSite()), prepared(nil)), inUse(2, nil)), library("1.1:def")),
			},
			{
				name: "after a change of what is in use", before: append(slices.Clone(whole), upsertUnit), key: "all", args: []string{"0", "me", "1.0:abc"}, refused: changed,
			},
			{name: "of a version that never was", before: whole, key: "all", args: []string{"7", "me", "1.0:abc"}, refused: changed},
			{
				name: "after somebody else began", before: append(slices.Clone(whole), step{"model_stage_begin", "all", "you"}), key: "all", args: []string{"0", "me", "1.0:abc"},
				refused: otherPreparer,
			},
			{name: "twice", before: append(slices.Clone(whole), step{"model_stage_commit", "all", "0", "me", "1.0:abc"}), key: "all", args: []string{"1", "me", "1.0:abc"}, refused: otherPreparer},
		},
	}
}

func stageCancel() contract {
	return contract{
		function: "model_stage_cancel", key: anyName(), args: []kind{anID()},
		examples: []example{
			{name: "leaves what is in use", before: staging(wholeSite, wholeSite...), key: "all", args: []string{"me"}, reply: "OK", after: became(prepared(ofWholeSite()), nil)},
			{name: "of somebody else", before: staging(nil, upsertUnit), key: "all", args: []string{"you"}, refused: otherPreparer},
			{name: "of nobody", before: wholeSite, key: "all", args: []string{"me"}, refused: otherPreparer},
		},
	}
}
