package rtdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func battery(id string) ems.Model {
	return ems.Model{ID: id, Template: "battery", Mapping: ems.ModelMapping{
		Channel: 1001,
		Data:    map[string]ems.ModelPoint{"soc": "1", "fault": "S:2"},
		Action:  map[string]ems.ModelPoint{"power": "A:3"},
	}}
}

func batteryTemplate() ems.Template {
	least, most := -50.0, 50.0
	return ems.Template{
		ID: "battery", Name: "Battery", Data: []ems.TemplateField{{Name: "soc", Unit: "%"}, {Name: "fault"}},
		Action: []ems.TemplateField{{Name: "power", Unit: "kW", Min: &least, Max: &most}},
	}
}

func TestAModelIsStoredReadAndDeletedWithoutTrace(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.UpsertModel(b.ctx, battery("battery_001")); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("a model without its template: %v", err)
	}
	if err := b.UpsertTemplate(b.ctx, batteryTemplate()); err != nil {
		t.Fatal(err)
	}
	before := b.dump(t)
	if err := b.UpsertModel(b.ctx, battery("battery_001")); err != nil {
		t.Fatal(err)
	}
	model, err := b.Model(b.ctx, "battery_001")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the model", model, battery("battery_001"))
	template, err := b.Template(b.ctx, "battery")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the template", template, batteryTemplate())
	if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 55.5}}}); err != nil {
		t.Fatal(err)
	}
	values, err := b.ReadModel(b.ctx, "battery_001")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the values", values, []ems.ModelValue{
		{Name: "fault", Point: ref(t, "comsrv:1001:S:2"), Value: ems.Value{Quality: ems.Bad}, Missing: true},
		{Name: "soc", Point: ref(t, "comsrv:1001:T:1"), Value: ems.Value{Number: 55.5, Time: start}},
	})
	names, err := b.ModelsOfPoint(b.ctx, ref(t, "comsrv:1001:A:3"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the reverse lookup", names, []rtdb.ModelName{{Model: "battery_001", Name: "power"}})
	if err := b.DeleteModel(b.ctx, "battery_001"); err != nil {
		t.Fatal(err)
	}
	if err := b.raw.Del(b.ctx, "comsrv:1001:T", "comsrv:1001:T:ts", "comsrv:1001:status").Err(); err != nil {
		t.Fatal(err)
	}
	before["modsrv:version"] = "3" // it counts every change
	expect(t, "keys after deletion", b.dump(t), before)
	if err := b.DeleteModel(b.ctx, "battery_001"); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestAnActionBecomesACommandWithinItsLimits(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.UpsertTemplate(b.ctx, batteryTemplate()); err != nil {
		t.Fatal(err)
	}
	if err := b.UpsertModel(b.ctx, battery("battery_001")); err != nil {
		t.Fatal(err)
	}
	order := ems.Command{ID: "c1", Value: 50, Issued: start, Deadline: start.Add(time.Second), Origin: "api"}
	target, err := b.WriteModel(b.ctx, "battery_001", "power", order)
	if err != nil || target != ref(t, "comsrv:1001:A:3") {
		t.Fatalf("got %v, %v", target, err)
	}
	expect(t, "the stream", b.show(t, "comsrv:1001:commands"), "deadline=1782000001000 id=c1 issued=1782000000000 origin=api point=3 type=A value=50.000000")
	for _, test := range []struct {
		model, action string
		value         float64
		want          ems.Code
	}{
		{"battery_001", "power", 50.000001, ems.CodeInvalid},
		{"battery_001", "power", -51, ems.CodeInvalid},
		{"battery_001", "volume", 1, ems.CodeNotFound},
		{"battery_002", "power", 1, ems.CodeNotFound},
	} {
		order.ID, order.Value = "c2", test.value
		if _, err := b.WriteModel(b.ctx, test.model, test.action, order); ems.CodeOf(err) != test.want {
			t.Errorf("%s.%s = %v: %v, want %s", test.model, test.action, test.value, err, test.want)
		}
	}
	if length := b.raw.XLen(b.ctx, "comsrv:1001:commands").Val(); length != 1 {
		t.Errorf("%d commands are queued", length)
	}
}

// What Go and the library would read differently is refused: Go takes "Data" for
// "data", and knows what an escaped character in a name stands for.
func TestNamesThatReadersTakeDifferentlyAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for function, texts := range map[string][]string{
		"model_template_upsert": {
			`{"id":"t","Data":[]}`, `{"id":"t","d\u0061ta":[]}`, `{"id":"t","NAME":"x"}`, `{"id":"t","data":[{"name":"a","Point":3}]}`,
			`{"id":"t","computed":[{"name":"a","Expression":"1"}]}`,
		},
		"model_upsert": {
			`{"id":"t","Name":"x","mapping":{"channel":1}}`, `{"id":"t","mapping":{"channel":1,"Offset":1}}`, `{"id":"t","mapping":{"chann\u0065l":1}}`,
		},
	} {
		for _, text := range texts {
			err := b.raw.FCall(b.ctx, function, []string{"t"}, text).Err()
			if err == nil || !strings.HasPrefix(err.Error(), "INVALID ") {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
}

// Formulas are compiled when a model is stored: together they are bounded, so that
// no model holds Redis up.
func TestFormulasAreBoundedTogether(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	template := ems.Template{ID: "t", Data: []ems.TemplateField{{Name: "x"}, {Name: "y"}}}
	for i := range 200 {
		input := fmt.Sprintf("c%d", i+1)
		if i == 199 {
			input = "x"
		}
		template.Computed = append(template.Computed, ems.ComputedField{Name: fmt.Sprintf("c%d", i), Expression: input + strings.Repeat("+1", 50)})
	}
	if err := b.UpsertTemplate(b.ctx, template); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "20000 bytes together") {
		t.Errorf("formulas of 20 kB: %v", err)
	}
	for i := range template.Computed {
		template.Computed[i].Expression = strings.TrimSuffix(template.Computed[i].Expression, strings.Repeat("+1", 5))
	}
	if err := b.UpsertTemplate(b.ctx, template); err != nil {
		t.Fatal(err)
	}
	// Each value lacks its input because the one after it does.
	expansion, err := b.TryModel(b.ctx, ems.Model{ID: "m", Template: "t", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"y": "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(expansion.Computed) != 0 || len(expansion.Unmapped) != 201 || expansion.Unmapped[1] != "c199" || expansion.Unmapped[200] != "c0" {
		t.Errorf("computed %v, unmapped %v", expansion.Computed, expansion.Unmapped)
	}
}

// Random creations, changes and deletions against a plain map: the reverse map
// and the list are always those of the models that there are.
func TestTheReverseMapFollowsEveryChange(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rapid.Check(t, func(t *rapid.T) {
		if err := b.raw.FlushAll(b.ctx).Err(); err != nil {
			t.Fatal(err)
		}
		models := map[string]ems.Model{}
		point := rapid.Custom(func(t *rapid.T) ems.ModelPoint {
			return ems.ModelPoint(fmt.Sprintf("%s:%d", rapid.SampledFrom([]string{"C", "A"}).Draw(t, "type"), rapid.IntRange(1, 3).Draw(t, "point")))
		})
		names := rapid.SampledFrom([]string{"a", "b", "c"})
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"m1", "m2", "m3"}).Draw(t, "id")
			if _, exists := models[id]; exists && rapid.Bool().Draw(t, "delete") {
				if err := b.DeleteModel(b.ctx, id); err != nil {
					t.Fatal(err)
				}
				delete(models, id)
			} else {
				model := ems.Model{ID: id, Mapping: ems.ModelMapping{
					Channel: ems.ChannelID(rapid.Uint32Range(1, 2).Draw(t, "channel")),
					Data:    rapid.MapOfN(names, point, 0, 3).Draw(t, "data"),
					Action:  rapid.MapOfN(names, point, 0, 3).Draw(t, "action"),
				}}
				if err := b.UpsertModel(b.ctx, model); err != nil {
					t.Fatal(err)
				}
				models[id] = model
			}
			checkReverse(t, b, models)
		}
	})
}

func checkReverse(t *rapid.T, b *bench, models map[string]ems.Model) {
	t.Helper()
	want := map[string][]string{}
	for id, model := range models {
		for _, mapping := range []map[string]ems.ModelPoint{model.Mapping.Data, model.Mapping.Action} {
			for name, point := range mapping {
				at, err := point.Resolve(model.Mapping.Channel, ems.Telemetry)
				if err != nil {
					t.Fatal(err)
				}
				want[at.String()] = append(want[at.String()], id+"."+name)
			}
		}
	}
	for channel := ems.ChannelID(1); channel <= 2; channel++ {
		for _, kind := range []ems.PointType{ems.Control, ems.Adjustment} {
			for point := ems.PointID(1); point <= 3; point++ {
				at := ems.PointRef{Channel: channel, Type: kind, Point: point}
				found, err := b.ModelsOfPoint(b.ctx, at)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, name := range found {
					got = append(got, name.Model+"."+name.Name)
				}
				slices.Sort(got)
				slices.Sort(want[at.String()])
				if !slices.Equal(got, want[at.String()]) {
					t.Fatalf("%s leads to %v, want %v", at, got, want[at.String()])
				}
			}
		}
	}
	listed, _, err := b.Models(b.ctx, "", 10, rtdb.ModelFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, model := range listed {
		ids = append(ids, model.ID)
	}
	var all []string
	for id := range models {
		all = append(all, id)
	}
	slices.Sort(all)
	if strings.Join(ids, " ") != strings.Join(all, " ") {
		t.Fatalf("the list is %v, want %v", ids, all)
	}
}
