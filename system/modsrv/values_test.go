package modsrv_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// modelValue is the wire form of a value.
type modelValue struct {
	Name     string
	Point    string
	Computed bool
	Value    *float64
	Unit     string
	Min      *float64
	Max      *float64
	Time     *int64
	Quality  string
}

func TestValuesAreThoseOfTheDatabase(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	now := time.Now().Truncate(time.Millisecond)
	ms := now.UnixMilli()
	err := p.DB.Ingest(t.Context(),
		rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: now, Samples: []rtdb.Sample{
			{Point: 1, Number: -12.345678, Quality: ems.Good}, {Point: 2, Number: 50, Quality: ems.Uncertain},
		}})
	if err != nil {
		t.Fatal(err)
	}
	want := []modelValue{
		{Name: "power", Point: "comsrv:1001:T:1", Value: number(-12.345678), Unit: "kW", Time: &ms, Quality: "good"},
		{Name: "running", Point: "comsrv:1001:S:1", Quality: "bad"},
		{Name: "soc", Point: "comsrv:1001:T:2", Value: number(50), Unit: "%", Min: number(0), Max: number(100), Time: &ms, Quality: "uncertain"},
	}
	var values []modelValue
	p.does(http.MethodGet, "/api/models/battery_001/values", "", http.StatusOK, &values)
	servicetest.Same(t, values, want)
}

// Inputs of every quality, two of them of another channel: the worst quality and
// the latest time are those of the result.
func TestComputedValuesHaveTheWorstQuality(t *testing.T) {
	t.Parallel()
	site := testSite()
	site.Templates = append(site.Templates, ems.Template{
		ID: "plant", Data: []ems.TemplateField{{Name: "good", Unit: "W"}, {Name: "doubtful"}, {Name: "never"}, {Name: "old"}, {Name: "lost"}},
		Computed: []ems.ComputedField{
			{Name: "z_kilo", Unit: "kW", Function: "scale", Of: []string{"good"}, Factor: number(0.001), Offset: number(1)},
			{Name: "z_sum", Function: "sum", Of: []string{"good", "doubtful"}},
			{Name: "z_stale", Expression: "max(good, doubtful) - old"},
			{Name: "z_bad", Function: "mean", Of: []string{"good", "lost"}},
			{Name: "z_none", Function: "min", Of: []string{"good", "never"}},
			{Name: "z_zero", Expression: "good / (doubtful - doubtful)"},
			{Name: "z_chain", Unit: "W", Expression: "z_sum * 2 + z_kilo"},
			{Name: "z_fixed", Expression: "2 * 3"},
		},
	})
	site.Models = append(site.Models, ems.Model{
		ID: "plant_1", Template: "plant", Mapping: ems.ModelMapping{Channel: 1001, Data: map[string]ems.ModelPoint{
			"good": "1", "doubtful": "2", "lost": "3", "never": "4", "old": "comsrv:1002:T:1",
		}},
		Computed: []ems.ComputedField{{Name: "z_own", Unit: "%", Function: "difference", Of: []string{"good", "z_sum"}}},
	})
	p := start(t, site)
	now := time.Now().Truncate(time.Millisecond)
	ms, older, old := now.UnixMilli(), now.Add(-time.Second).UnixMilli(), now.Add(-time.Hour).UnixMilli()
	for _, batch := range []rtdb.Batch{
		{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: now.Add(-time.Second), Samples: []rtdb.Sample{{Point: 2, Number: 50, Quality: ems.Uncertain}, {Point: 3, Number: 7}}},
		{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: now, Samples: []rtdb.Sample{{Point: 1, Number: 2500}, {Point: 3, Quality: ems.Bad}}},
		{Channel: 1002, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: now.Add(-time.Hour), Samples: []rtdb.Sample{{Point: 1, Number: 500}}},
	} {
		if err := p.DB.Ingest(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	var values []modelValue
	p.does(http.MethodGet, "/api/models/plant_1/values", "", http.StatusOK, &values)
	if len(values) == 14 && values[7].Time != nil { // that of a constant is the time of asking
		if fixed := *values[7].Time; fixed < ms || fixed > time.Now().UnixMilli() {
			t.Errorf("z_fixed is of %d", fixed)
		}
		values[7].Time = &ms
	}
	servicetest.Same(t, values, []modelValue{
		{Name: "doubtful", Point: "comsrv:1001:T:2", Value: number(50), Unit: "%", Time: &older, Quality: "uncertain"},
		{Name: "good", Point: "comsrv:1001:T:1", Value: number(2500), Unit: "W", Time: &ms, Quality: "good"},
		{Name: "lost", Point: "comsrv:1001:T:3", Value: number(7), Unit: "A", Time: &older, Quality: "bad"},
		{Name: "never", Point: "comsrv:1001:T:4", Unit: "kWh", Quality: "bad"},
		{Name: "old", Point: "comsrv:1002:T:1", Value: number(500), Unit: "kW", Time: &old, Quality: "stale"},
		{Name: "z_bad", Computed: true, Value: number(1253.5), Time: &ms, Quality: "bad"},
		{Name: "z_chain", Computed: true, Value: number(5103.5), Unit: "W", Time: &ms, Quality: "uncertain"},
		{Name: "z_fixed", Computed: true, Value: number(6), Time: &ms, Quality: "good"},
		{Name: "z_kilo", Computed: true, Value: number(3.5), Unit: "kW", Time: &ms, Quality: "good"},
		{Name: "z_none", Computed: true, Quality: "bad"},
		{Name: "z_own", Computed: true, Value: number(-50), Unit: "%", Time: &ms, Quality: "uncertain"},
		{Name: "z_stale", Computed: true, Value: number(2000), Time: &ms, Quality: "stale"},
		{Name: "z_sum", Computed: true, Value: number(2550), Time: &ms, Quality: "uncertain"},
		{Name: "z_zero", Computed: true, Quality: "bad"},
	})
}

func TestActionEndsAsItsCommandDoes(t *testing.T) {
	t.Parallel()
	p := start(t, testSite())
	device := p.DB.ReadCommands("device", []ems.ChannelID{1001})
	execute := func(state ems.CommandState, reason string) <-chan ems.Command {
		taken := make(chan ems.Command, 1)
		go func() {
			defer close(taken)
			for t.Context().Err() == nil {
				deliveries, err := device.Next(t.Context(), time.Second)
				if err != nil {
					t.Errorf("commands: %v", err)
					return
				}
				for _, delivery := range deliveries {
					if err := p.DB.BeginCommand(t.Context(), delivery); err != nil {
						t.Errorf("begin: %v", err)
					}
					read := delivery.Value
					result := ems.CommandResult{State: state, Reason: reason, Time: time.Now()}
					if state == ems.CommandDone {
						result.ReadBack = &read
					}
					if err := p.DB.FinishCommand(t.Context(), delivery, result); err != nil {
						t.Errorf("finish: %v", err)
					}
					taken <- delivery.Command
					return
				}
			}
		}()
		return taken
	}

	taken := execute(ems.CommandDone, "")
	var result ems.CommandResult
	if status, text := p.Ask(http.MethodPost, "/api/models/battery_001/actions/set_power", `{"value":-7.5}`, &result); status != http.StatusOK {
		t.Fatal(text)
	}
	command := <-taken
	servicetest.Same(t, command.Target, ems.PointRef{Channel: 1001, Type: ems.Adjustment, Point: 1})
	servicetest.Same(t, command.Value, -7.5)
	servicetest.Same(t, command.Origin, "api:model:battery_001")
	servicetest.Same(t, command.Deadline.Sub(command.Issued), ems.DefaultCommandLifetime)
	servicetest.Same(t, result.ID, command.ID)
	servicetest.Same(t, result.State, ems.CommandDone)
	servicetest.Same(t, result.ReadBack, number(-7.5))

	taken = execute(ems.CommandFailed, "the device refused it")
	p.Refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":1}`, http.StatusConflict, ems.CodeConflict, "the device refused it")
	servicetest.Same(t, (<-taken).Target, ems.PointRef{Channel: 1001, Type: ems.Control, Point: 1})

	taken = execute(ems.CommandUnknown, "no answer")
	p.Refused(http.MethodPost, "/api/models/battery_001/actions/start", `{"value":0}`, http.StatusGatewayTimeout, ems.CodeUnknown, "is unknown: no answer")
	<-taken

	path := "/api/models/battery_001/actions/"
	p.Refused(http.MethodPost, path+"set_power", `{"value":45}`, http.StatusBadRequest, ems.CodeInvalid, "45 is above the greatest value of ")
	p.Refused(http.MethodPost, path+"set_power", `{"value":-55}`, http.StatusBadRequest, ems.CodeInvalid, "-55 is below the least value of power setpoint, -40 kW")
	p.Refused(http.MethodPost, path+"set_power", `{}`, http.StatusBadRequest, ems.CodeInvalid, "value")
	p.Refused(http.MethodPost, path+"set_power?dry_run=true", `{"value":1}`, http.StatusBadRequest, ems.CodeInvalid, "this request takes none, and nothing was done")
	p.Refused(http.MethodPost, path+"explode", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "explode")
	p.Refused(http.MethodPost, "/api/models/nobody/actions/start", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, "nobody")
}

// The point of an action may come from the template, by the offset of the model.
func TestAnActionIsCheckedAgainstTemplateAndPoint(t *testing.T) {
	t.Parallel()
	site := testSite()
	site.Templates = append(site.Templates, ems.Template{
		ID: "valve", Action: []ems.TemplateField{
			{Name: "open", ValueType: ems.ZeroOrOne}, {Name: "level", Type: ems.Adjustment, Min: number(-45), Max: number(30), ValueType: ems.WholeNumber},
		},
	})
	site.Models = append(site.Models, ems.Model{ID: "valve_1", Template: "valve", Mapping: ems.ModelMapping{Channel: 1001, Offset: offset(0)}})
	p := start(t, site)
	for value, message := range map[string]string{
		"-41": "-41 is below the least value of power setpoint, -40 kW", "31": "takes -45 to 30, not 31", "2.5": "takes whole numbers, not 2.5",
	} {
		p.Refused(http.MethodPost, "/api/models/valve_1/actions/level", `{"value":`+value+`}`, http.StatusBadRequest, ems.CodeInvalid, message)
	}
	p.Refused(http.MethodPost, "/api/models/valve_1/actions/open", `{"value":0.5}`, http.StatusBadRequest, ems.CodeInvalid, "takes 0 or 1, not 0.5")
	p.Refused(http.MethodPost, "/api/models/valve_1/actions/shut", `{"value":1}`, http.StatusNotFound, ems.CodeNotFound, `model valve_1 has no action "shut"`)
	if streams := p.Raw.Exists(t.Context(), "comsrv:1001:commands").Val(); streams != 0 {
		t.Error("something was sent")
	}
}
