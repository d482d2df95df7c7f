package alarmsrv_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// A suppression of what the site does not have would hold nothing back, and nobody
// would know.
func TestASuppressionNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	ctx := t.Context()
	const document = `{"id": 77, "name": "made", "protocol": "virtual", "points": {"telemetry": "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,power,1,0,MW,,\n"}}`
	for _, err := range []error{
		f.DB.StoreMade(ctx, rtdb.MadeChannel{ID: 77, Document: document}),
		f.DB.SetStatus(ctx, 3005, rtdb.ChannelStatus{}), // of a folder that is newer than the service
		f.DB.Ingest(ctx, rtdb.Batch{Channel: 1002, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: f.clock.Now(), Samples: []rtdb.Sample{{Point: 70, Number: 1}}}),
		f.DB.UpsertModel(ctx, ems.Model{
			ID: "battery", Mapping: ems.ModelMapping{Channel: 1002, Data: map[string]ems.ModelPoint{"heat": "T:51"}},
			Computed: []ems.ComputedField{{Name: "total", Function: "sum", Of: []string{"heat"}}},
		}),
		f.DB.UpsertRule(ctx, ems.Rule{ID: "hot", Name: "hot", Conditions: []ems.Condition{{Source: "comsrv:1002:T:51", Operator: ">", Value: ems.Number(50)}}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if status, text := f.Ask(http.MethodPost, "/api/alarms", `{"source":"pump","rule":"leak","level":"Minor","title":"of another system"}`, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	body := func(scope, value string) string {
		return fmt.Sprintf(`{"scope":%q,"value":%q,"by":"ann","reason":"x"}`, scope, value)
	}
	// Without its braces checked such an id would be one of another site.
	f.Refused(http.MethodPost, "/api/alarms/suppressions", `{"id":"{x}:a","scope":"all","by":"ann","reason":"x"}`, http.StatusBadRequest, ems.CodeInvalid, "suppression id")
	for _, value := range []string{
		"comsrv:", "comsrv:10", "comsrv:1002", "comsrv:1002:", "comsrv:1002:T", "comsrv:1002:T:5", "comsrv:1002:T:51", "comsrv:1002:T:70", "comsrv:77:T:1", "comsrv:3005:T:9", "comsrv:300",
		"modsrv:", "modsrv:bat", "modsrv:battery", "modsrv:battery:", "modsrv:battery:heat", "modsrv:battery:tot", "rulesrv:hot:input", "custom:any", "pump", "pv-7",
	} {
		if status, text := f.Ask(http.MethodPost, "/api/alarms/suppressions", body("source", value), nil); status != http.StatusCreated {
			t.Errorf("%s: %d %s", value, status, text)
		}
	}
	for _, rule := range []string{"hot", "leak"} {
		if status, text := f.Ask(http.MethodPost, "/api/alarms/suppressions", body("rule", rule), nil); status != http.StatusCreated {
			t.Errorf("%s: %d %s", rule, status, text)
		}
	}
	for _, c := range []struct{ scope, value, told string }{
		{"source", "comsrv:9", "no channel 9 in this site"},
		{"source", "comsrv:100:", "no channel 100 in this site"},
		{"source", "comsrv:1002x", "no channel 1002x in this site"},
		{"source", "comsrv:1002:S", "no point of its channel begins so"},
		{"source", "comsrv:1002:T:6", `value "comsrv:1002:T:6"`},
		{"source", "comsrv:1002:S:70", `value "comsrv:1002:S:70"`},
		{"source", "comsrv:77:T:2", "no point of its channel begins so"},
		{"source", "modsrv:x", `no model "x" in this site`},
		{"source", "modsrv:bat:heat", `no model "bat" in this site`},
		{"source", "modsrv:battery:cold", `model "battery" has no data and no computed value that begins with "cold"`},
		{"source", "rulesrv:cold:input", `no rule "cold" in this site`},
		{"rule", "cold", `no rule "cold" in this site, and no alarm of one`},
		{"source", "modsrv:{x}:y", `model "{x}"`},
		{"source", "modsrv:{x}", `model "{x}"`},
		{"rule", "{x}:hot", `rule "{x}:hot"`},
		{"rule", "", `rule ""`},
	} {
		f.Refused(http.MethodPost, "/api/alarms/suppressions", body(c.scope, c.value), http.StatusBadRequest, ems.CodeInvalid, c.told)
	}
}
