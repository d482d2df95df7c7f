package rtdb_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestContractOfModsrv(t *testing.T) {
	t.Parallel()
	fulfil(t, modsrvContracts())
}

func modsrvContracts() []contract {
	return []contract{
		templateUpsert(), templateUpsertStaged(), templateGet(), templateList(), templateDelete(),
		modelUpsert(), modelUpsertStaged(), modelGet(), modelList(), modelDelete(), modelExpand(),
		modelReverseLookup(), modelRead(), modelWrite(), stageBegin(), stageCommit(), stageCancel(),
	}
}

// Two templates, of which the second one extends the first, a model that follows
// them with the points of two channels, and one that stands alone and shares
// points of it.
const (
	unitTemplate = `{"id":"unit","name":"Unit","data":[{"name":"power","unit":"kW","min":-100,"max":100},{"name":"fault","type":"S"}],` +
		`"metadata":{"maker":"any","data":{},"point":1.5}}`
	rackTemplate = `{"id":"rack","extends":"unit","data":[{"name":"soc","unit":"%","point":5}],"action":[{"name":"limit","type":"A","min":-50,"max":50.5},` +
		`{"name":"start","value_type":"bool"},{"name":"level","value_type":"integer","min":0}],` +
		`"computed":[{"name":"half","unit":"kW","function":"scale","of":["power"],"factor":0.1}],"metadata":{"maker":"acme"}}`
	rackModel = `{"id":"r1","name":"Rack 1","template":"rack","mapping":{"channel":1001,"offset":10,"data":{"soc":"S:3"},` +
		`"action":{"limit":"comsrv:1002:A:2"}},"computed":[{"name":"rest","expression":"100 - soc"}],"metadata":{"floor":2}}`
	freeModel = `{"id":"m2","mapping":{"channel":1002,"data":{"temp":"comsrv:1001:T:11","soc":3},"action":{"go":"A:2"}}}`
)

var (
	upsertUnit = step{"model_template_upsert", "unit", unitTemplate}
	upsertRack = step{"model_template_upsert", "rack", rackTemplate}
	upsertR1   = step{"model_upsert", "r1", rackModel}
	upsertM2   = step{"model_upsert", "m2", freeModel}
	wholeSite  = []step{upsertUnit, upsertRack, upsertR1, upsertM2}
)

const (
	restFormula = `{"expression":"100 - soc","name":"rest"}`
	halfFormula = `{"factor":0.1,"function":"scale","name":"half","of":["power"],"unit":"kW"}`
	rackLayout  = "power 1001 T 11\nfault 1001 S 11\nsoc 1001 S 3"
	rackActions = "limit 1002 A 2 -50 50.5 number\nstart 1001 C 11 - - bool\nlevel 1001 C 12 0 - integer"
)

// storedModel is the hash of a model.
func storedModel(config, channel, template, layout, actions, computed string) string {
	return "actions=" + actions + " channel=" + channel + " computed=" + computed + " config=" + config + " layout=" + layout + " template=" + template
}

// What is there of each, by the name below a root.
func ofUnit() map[string]string {
	return map[string]string{"template:unit": unitTemplate, "templates": "unit=0"}
}

func ofTemplates() map[string]string {
	return with(ofUnit(), map[string]string{"template:rack": rackTemplate, "templates": "rack=0 unit=0", "templates:by_parent:unit": "rack=0"})
}

func ofR1() map[string]string {
	return with(ofTemplates(), map[string]string{
		"model:r1": storedModel(rackModel, "1001", "rack", rackLayout, rackActions, "["+halfFormula+","+restFormula+"]"),
		"models":   "r1=0", "models:by_channel:1001": "r1=0", "models:by_template:rack": "r1=0",
		"reverse:1001:T": "11=r1:power", "reverse:1001:S": "11=r1:fault 3=r1:soc", "reverse:1001:C": "11=r1:start 12=r1:level", "reverse:1002:A": "2=r1:limit",
	})
}

func ofM2() map[string]string {
	return map[string]string{
		"model:m2": storedModel(freeModel, "1002", "", "soc 1002 T 3\ntemp 1001 T 11", "go 1002 A 2 - - number", ""),
		"models":   "m2=0", "models:by_channel:1002": "m2=0", "reverse:1002:T": "3=m2:soc", "reverse:1001:T": "11=m2:temp", "reverse:1002:A": "2=m2:go",
	}
}

func ofWholeSite() map[string]string {
	return with(ofM2(), ofR1(), map[string]string{
		"models": "m2=0 r1=0", "reverse:1001:T": "11=r1:power m2:temp", "reverse:1002:A": "2=r1:limit m2:go",
	})
}

// below returns the keys below a root, with the set of their names.
func below(root string, names map[string]string) map[string]string {
	keys := map[string]string{}
	if len(names) > 0 {
		keys[root+"keys"] = strings.Join(slices.Sorted(maps.Keys(names)), " ")
	}
	for name, text := range names {
		keys[root+name] = text
	}
	return keys
}

// inUse is a site after so many changes; prepared one that somebody prepares.
func inUse(version int, names map[string]string) map[string]string {
	return with(below("modsrv:", names), map[string]string{"modsrv:version": strconv.Itoa(version)})
}

func prepared(names map[string]string) map[string]string {
	return with(below("modsrv:staged:", names), map[string]string{"modsrv:staged:owner": "me"})
}

// became tells what is different after a call, of everything before and after.
func became(before, after map[string]string) map[string]string {
	changes := map[string]string{}
	for key := range before {
		if _, stays := after[key]; !stays {
			changes[key] = gone
		}
	}
	for key, text := range after {
		if before[key] != text {
			changes[key] = text
		}
	}
	return changes
}

// staging are steps after which "me" prepares a site and has taken the steps in it.
func staging(before []step, steps ...step) []step {
	all := append(slices.Clone(before), step{"model_stage_begin", "all", "me"})
	for _, s := range steps {
		all = append(all, append(slices.Clone(s), "me"))
	}
	return all
}

const otherPreparer = "CONFLICT somebody else prepares a site now: begin again"

func templateUpsert() contract {
	moved := `{"id":"rack","data":[{"name":"power","point":21},{"name":"soc","unit":"%","point":7}],"action":[{"name":"limit","min":0}]}`
	wider := `{"id":"unit","data":[{"name":"volts"},{"name":"power","type":"A"},{"name":"fault","type":"S","point":4}]}`
	c := contract{
		function: "model_template_upsert", key: oneOf("unit"), // the template itself says that this is its id
		args: []kind{document(unitTemplate)}, more: []kind{optional(anID())}, most: 1,
		examples: []example{
			{name: "a new one", key: "unit", args: []string{unitTemplate}, reply: "OK", after: inUse(1, ofUnit())},
			{
				name: "that extends another", before: []step{upsertUnit}, key: "rack", args: []string{rackTemplate, ""}, reply: "OK",
				after: became(inUse(1, ofUnit()), inUse(2, ofTemplates())),
			},
			{name: "the same again", before: wholeSite, key: "unit", args: []string{unitTemplate}, reply: "OK", after: became(
				inUse(4, ofWholeSite()), inUse(5, with(ofWholeSite(), map[string]string{"reverse:1001:T": "11=m2:temp r1:power", "reverse:1002:A": "2=m2:go r1:limit"})),
			)},
			{
				name: "other points, and no longer an extension of another: its model follows", before: wholeSite, key: "rack", args: []string{moved}, reply: "OK",
				after: map[string]string{
					"modsrv:template:rack": moved, "modsrv:templates:by_parent:unit": gone, "modsrv:version": "5", "modsrv:reverse:1001:C": gone,
					"modsrv:keys": below("", without(ofWholeSite(), "templates:by_parent:unit", "reverse:1001:C"))["keys"],
					"modsrv:model:r1": storedModel(rackModel, "1001", "rack", "power 1001 T 31\nsoc 1001 S 3", "limit 1002 A 2 0 - number",
						"["+restFormula+"]"),
					"modsrv:reverse:1001:T": "11=m2:temp 31=r1:power", "modsrv:reverse:1001:S": "3=r1:soc", "modsrv:reverse:1002:A": "2=m2:go r1:limit",
				},
			},
			{
				name: "other fields of the one that is extended: the model of the extension follows", before: wholeSite, key: "unit", args: []string{wider}, reply: "OK",
				after: map[string]string{
					"modsrv:template:unit": wider, "modsrv:version": "5",
					"modsrv:keys": below("", with(ofWholeSite(), map[string]string{"reverse:1001:A": ""}))["keys"],
					"modsrv:model:r1": storedModel(rackModel, "1001", "rack", "volts 1001 T 11\npower 1001 A 11\nfault 1001 S 14\nsoc 1001 S 3", rackActions,
						"["+halfFormula+","+restFormula+"]"),
					"modsrv:reverse:1001:T": "11=m2:temp r1:volts", "modsrv:reverse:1001:S": "14=r1:fault 3=r1:soc", "modsrv:reverse:1001:A": "11=r1:power",
					"modsrv:reverse:1002:A": "2=m2:go r1:limit",
				},
			},
			{
				name: "that a model could no longer follow", before: wholeSite, key: "rack", args: []string{`{"id":"rack","extends":"unit","action":[{"name":"limit"}]}`},
				refused: "CONFLICT model 'r1' follows this template and would no longer fit: INVALID mapping.data: the template has no 'soc'",
			},
			{
				name: "that another could no longer extend", before: wholeSite, key: "unit", args: []string{`{"id":"unit"}`},
				refused: "CONFLICT template 'rack' follows this template and would no longer fit: INVALID computed half needs 'power', which the model does not have",
			},
			{name: "that extends nothing", key: "rack", args: []string{rackTemplate}, refused: "NOT_FOUND no template 'unit'"},
			{
				name: "that extends what extends it", before: wholeSite, key: "unit", args: []string{`{"id":"unit","extends":"rack"}`},
				refused: "INVALID templates extend each other in a circle: unit -> rack -> unit",
			},
			{
				name: "17 deep", before: chainOf(16), key: "t17", args: []string{`{"id":"t17","extends":"t16"}`},
				refused: "INVALID templates extend one another more than 16 deep",
			},
			{name: "for somebody who prepares nothing", key: "unit", args: []string{unitTemplate, "me"}, refused: otherPreparer},
		},
	}
	for _, bad := range badTemplates() {
		c.examples = append(c.examples, example{
			name: fmt.Sprintf("%.100q", bad[0]), before: []step{upsertUnit}, key: "unit", args: []string{bad[0]}, refused: "INVALID " + bad[1],
		})
	}
	many := []step{upsertUnit}
	for i := range 1001 {
		id := "x" + strconv.Itoa(i)
		many = append(many, step{"model_upsert", id, `{"id":"` + id + `","template":"unit","mapping":{"channel":1}}`})
	}
	c.examples = append(c.examples, example{
		name: "that too many follow", before: many, key: "unit", args: []string{wider},
		refused: "CONFLICT more than 1000 models and templates follow template 'unit': reload the whole site instead",
	})
	return c
}

// without returns a map without some of its keys.
func without(all map[string]string, keys ...string) map[string]string {
	rest := maps.Clone(all)
	for _, key := range keys {
		delete(rest, key)
	}
	return rest
}

// chainOf are templates t1 to tN, each of which extends the one before.
func chainOf(count int) []step {
	steps := []step{{"model_template_upsert", "t1", `{"id":"t1"}`}}
	for i := 2; i <= count; i++ {
		steps = append(steps, step{"model_template_upsert", fmt.Sprint("t", i), fmt.Sprintf(`{"id":"t%d","extends":"t%d"}`, i, i-1)})
	}
	return steps
}

// badTemplates are documents that are no template "unit", and why.
func badTemplates() [][2]string {
	of := func(text string) string { return `{"id":"unit",` + text + `}` }
	data := func(text string) string { return of(`"data":[{"name":"a",` + text + `}]`) }
	computed := func(text string) string { return of(`"data":[{"name":"a"}],"computed":[{"name":"c",` + text + `}]`) }
	const twoNames = "use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"
	return [][2]string{
		{`{"id":"unit"`, "the template is not a JSON object"},
		{`"unit"`, "the template is not a JSON object"},
		{`{"id":"unit","metadata":{"a":"` + strings.Repeat("x", 1<<20) + `"}}`, "the template is larger than 1 MiB"},
		{`{"id":"cold"}`, "the template calls itself 'cold' and the key 'unit'"},
		{data(`"min":0x10`), "the template is not JSON at '0x10'"},
		{data(`"max":nan`), "the template is not JSON at 'nan'"},
		{of(`"metadata":{"a":-Infinity}`), "the template is not JSON at '-Infinity'"},
		{of(`"metadata":{"a":1e999}`), "the template is not JSON at '1e999'"},
		{of(`"metadata":{"a":01}`), "the template is not JSON at '01'"},
		{of(`"name":"a` + "\n" + `b"`), "the template holds a control character"},
		{of(`"name":5`), "name must be a text"},
		{of(`"description":[]`), "description must be a text"},
		{of(`"extends":5`), "extends must be a text"},
		{of(`"extends":"a:b"`), "extends 'a:b': " + twoNames},
		{of(`"metadata":[]`), "metadata must be an object"},
		{of(`"metadata":"x"`), "metadata must be an object"},
		{of(`"data":{}`), "data must be a list"},
		{of(`"action":{"a":1}`), "action must be a list"},
		{of(`"action":7`), "action must be a list"},
		{of(`"name":"[{\"","computed" : {}`), "computed must be a list"},
		{of(`"data":[7]`), "data[0].name must be a text"},
		{of(`"data":[null]`), "data[0].name must be a text"},
		{of(`"data":[{"name":7}]`), "data[0].name must be a text"},
		{of(`"data":[{"name":"a b"}]`), "data[0].name 'a b': " + twoNames},
		{of(`"data":[{"name":"a"},{"name":"b"},{"name":"a"}]`), "data[2].name 'a' stands there twice"},
		{of(`"data":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, 1001), ",") + `]`), "data has more than 1000 entries"},
		{data(`"unit":7`), "data[0].unit must be a text"},
		{data(`"description":{}`), "data[0].description must be a text"},
		{data(`"min":"5"`), "data[0].min must be a finite number"},
		{data(`"min":2,"max":1`), "data[0].min is above max"},
		{data(`"type":"X"`), "unknown point type 'X': use T, S, C or A"},
		{data(`"point":0`), "data[0].point must be a whole number of 1 or more"},
		{data(`"point":4294967296`), "data[0].point must be a whole number of 1 or more"},
		{data(`"point":"5"`), "data[0].point must be a whole number of 1 or more"},
		{data(`"point":1.0`), "a point must be a whole number, written with digits alone"},
		{data(`"point":1e3`), "a point must be a whole number, written with digits alone"},
		{data(`"value_type":"text"`), "data[0].value_type 'text' is unknown: use number, integer or bool"},
		{of(`"action":[{"name":"a","type":"T"}]`), "a point of type 'T' cannot be written: use C or A"},
		{computed(`"unit":7,"expression":"a"`), "computed[0].unit must be a text"},
		{computed(`"expression":"a +"`), "computed[0].expression 'a +' at byte 4: a number, a name or a parenthesis is expected"},
		{computed(`"expression":"a b"`), "computed[0].expression 'a b' at byte 2: an operator is expected"},
		{computed(`"expression":"(a"`), "computed[0].expression '(a' at byte 3: ')' is expected"},
		{computed(`"expression":"max(a"`), "computed[0].expression 'max(a' at byte 6: ')' is expected"},
		{computed(`"expression":"sin(a)"`), "computed[0].expression 'sin(a)' at byte 5: one of the functions min, max, sum, mean and abs is expected"},
		{computed(`"expression":"abs(a,a)"`), "computed[0].expression 'abs(a,a)' at byte 9: one argument of abs is expected"},
		{computed(`"expression":""`), "computed[0].expression has 0 bytes: 1 to 500 are allowed"},
		{computed(`"expression":7`), "computed[0].expression must be a text"},
		{computed(`"expression":"` + strings.Repeat("(", 33) + `a"`), "computed[0].expression is nested deeper than 32"},
		{computed(`"expression":"` + strings.Repeat("-", 33) + `a"`), "computed[0].expression is nested deeper than 32"},
		{computed(`"expression":"a","of":["a"]`), "computed[0] has both an expression and a function: use one"},
		{computed(`"function":"sum","of":[]`), "computed[0].of must hold 1 to 100 names"},
		{computed(`"function":"sum","of":[7]`), "computed[0].of must hold 1 to 100 names"},
		{computed(`"function":"abs","of":["a"]`), "computed[0].function 'abs' is unknown: use sum, difference, mean, min, max or scale"},
		{computed(`"function":"difference","of":["a"]`), "computed[0].of must hold 2 names for a difference"},
		{computed(`"function":"scale","of":["a","a"]`), "computed[0].of must hold 1 name to scale"},
		{computed(`"function":"sum","of":["a"],"factor":"2"`), "computed[0].factor must be a finite number"},
		{computed(`"function":"sum","of":["b"]`), "computed c needs 'b', which the model does not have"},
		{computed(`"expression":"d"},{"name":"d","expression":"c"`), "computed values depend on each other in a circle: c -> d -> c"},
		{of(`"data":[{"name":"c"}],"computed":[{"name":"c","expression":"1"}]`), "computed c has the name of a data value"},
	}
}

func templateUpsertStaged() contract {
	wider := `{"id":"unit","data":[{"name":"volts"},{"name":"power"},{"name":"fault","type":"S"}]}`
	return contract{
		function: "model_template_upsert", key: oneOf("unit"),
		args: []kind{document(unitTemplate)}, more: []kind{optional(anID())}, most: 1,
		examples: []example{
			{
				name: "prepared, not put in use", before: staging(nil), key: "unit", args: []string{unitTemplate, "me"}, reply: "OK",
				after: below("modsrv:staged:", ofUnit()),
			},
			{
				name: "whose model is prepared too", before: staging([]step{upsertUnit}, upsertUnit, upsertRack, upsertR1), key: "unit", args: []string{wider, "me"}, reply: "OK",
				after: map[string]string{
					"modsrv:staged:template:unit": wider, "modsrv:staged:reverse:1001:T": "11=r1:volts 12=r1:power",
					"modsrv:staged:model:r1": strings.Replace(ofR1()["model:r1"], "power 1001 T 11", "volts 1001 T 11\npower 1001 T 12", 1),
				},
			},
			{
				name: "that extends what is in use alone", before: staging([]step{upsertUnit}), key: "rack", args: []string{rackTemplate, "me"},
				refused: "NOT_FOUND no template 'unit'",
			},
			{name: "for somebody else", before: staging(nil), key: "unit", args: []string{unitTemplate, "you"}, refused: otherPreparer},
		},
	}
}

func templateGet() contract {
	return contract{
		function: "model_template_get", key: anID(),
		examples: []example{
			{name: "as stored", before: wholeSite, key: "rack", reply: rackTemplate},
			{name: "none", before: wholeSite, key: "r1", refused: "NOT_FOUND no template 'r1'"},
		},
	}
}

func templateList() contract {
	other := step{"model_template_upsert", "load", `{"id":"load","extends":"unit"}`}
	before := append(slices.Clone(wholeSite), other)
	return contract{
		function: "model_template_list", key: anyName(), args: []kind{optional(anID()), whole(1, 1000), optional(anID())},
		examples: []example{
			{name: "the first page", before: before, key: "all", args: []string{"", "2", ""}, reply: list(other[2], rackTemplate)},
			{name: "the page after an id", before: before, key: "all", args: []string{"rack", "2", ""}, reply: list(unitTemplate)},
			{name: "of those that extend one", before: before, key: "all", args: []string{"", "1000", "unit"}, reply: list(other[2], rackTemplate)},
			{name: "of those after an id", before: before, key: "all", args: []string{"load", "1000", "unit"}, reply: list(rackTemplate)},
			{name: "of none", before: before, key: "all", args: []string{"", "1000", "rack"}, reply: list()},
			{name: "without any", key: "all", args: []string{"", "1000", ""}, reply: list()},
		},
	}
}

func templateDelete() contract {
	return contract{
		function: "model_template_delete", key: anID(),
		examples: []example{
			{
				name: "the last one leaves nothing", before: []step{upsertUnit}, key: "unit", reply: "OK",
				after: became(inUse(1, ofUnit()), inUse(2, nil)),
			},
			{
				name: "that extends another", before: append(slices.Clone(wholeSite), step{"model_delete", "r1"}), key: "rack", reply: "OK",
				after: became(inUse(5, with(ofTemplates(), ofM2())), inUse(6, with(ofUnit(), ofM2()))),
			},
			{name: "that a model follows", before: wholeSite, key: "rack", refused: "CONFLICT template 'rack' is in use by model 'r1'"},
			{name: "that another extends", before: wholeSite, key: "unit", refused: "CONFLICT template 'unit' is in use by template 'rack'"},
			{name: "none", before: wholeSite, key: "r1", refused: "NOT_FOUND no template 'r1'"},
		},
	}
}
