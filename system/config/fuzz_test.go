package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

const (
	fuzzPoints  = "point_id,signal_name,scale,offset,unit,reverse,data_type\n"
	fuzzMapping = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n"
)

// FuzzMerge: whatever tables are merged into those that a channel has, faults lie in
// what was given, nothing goes away, and what comes out is read as the same.
func FuzzMerge(f *testing.F) {
	f.Add(fuzzPoints+"1,power,1,0,,,\n", fuzzMapping+"1,1,3,10,int16,,\n", true)
	f.Add("signal_name,point_id\nother, 2\n", "point_id,register_address\n2,30\n", true)
	f.Add("\ufeffpoint_id,min\n\n1,5\n\"2\",\"7\"\n", "", true)
	f.Add("", fuzzMapping+"1,1,3,65535,uint16,,\n3,1,3,0,bool,,\n", true)
	f.Add("point_id,deadband,deadband\n1,2,3\n", "point_id;slave_id\n1;2\n", true)
	f.Add("point_id\n\"1\n2\",,\n", "point_id\n1,2,3\n\"", true)
	f.Add(fuzzPoints+"7,a,1,0,,,\n", fuzzMapping+"7,1,3,1,float16,,\n", false)
	f.Fuzz(func(t *testing.T, points, mapping string, merge bool) {
		base := Channel{ID: 1, Modbus: Modbus{Reads: Reads{}.OrDefault()}, PollGroups: PollGroups{"slow": time.Minute}}
		if err := base.ParsePoints(map[string]string{
			"telemetry":         fuzzPoints[:len(fuzzPoints)-1] + ",deadband,poll_group\n1,power,0.1,0,kW,0,int16,2,\n2,energy,1,0,kWh,0,uint32,,slow\n",
			"telemetry_mapping": fuzzMapping + "1,1,3,10,int16,AB,\n2,1,3,20,uint32,CDAB,\n",
		}); err != nil {
			t.Fatal(err)
		}
		before := base.Tables()
		revised, err := base.Revised(map[string]string{"telemetry": points, "telemetry_mapping": mapping}, merge)
		if diff := cmp.Diff(before, base.Tables()); diff != "" {
			t.Fatalf("the channel itself became another: %s", diff)
		}
		if err != nil {
			wantFaults(t, err, "points/1/telemetry")
			return
		}
		if changes := CompareTables(&base, revised); merge && len(changes.Removed) > 0 {
			t.Fatalf("a merge took points away: %+v", changes.Removed)
		}
		again := Channel{ID: 1, Modbus: base.Modbus, PollGroups: base.PollGroups}
		if err := again.ParsePoints(revised.Tables()); err != nil {
			t.Fatalf("what came out cannot be read: %v", err)
		}
		if diff := cmp.Diff(revised.Points, again.Points); diff != "" {
			t.Fatalf("what came out is read as something else: %s", diff)
		}
	})
}

// wantFaults makes sure that an error lists faults with their files.
func wantFaults(t *testing.T, err error, file string) {
	t.Helper()
	var coded *ems.Error
	if !errors.As(err, &coded) || coded.Code != ems.CodeInvalid || len(coded.Details) == 0 {
		t.Fatalf("%v is no INVALID with details", err)
	}
	for _, detail := range coded.Details {
		if !strings.HasPrefix(detail, file) || len(detail) > 20_000 {
			t.Fatalf("a fault without its file, or without end: %.200s", detail)
		}
	}
}

// FuzzParseChannel: whatever document comes, each fault names what it is of, in words
// that are not Go's; and one that is taken is taken again with its tables as they are
// in use.
func FuzzParseChannel(f *testing.F) {
	f.Add("id: 7\nname: a\nprotocol: virtual\nvirtual: {seed: 1, points: {x: {wave: sine, period: 1h, amplitude: 2}}}\npoints: {telemetry: \"point_id,signal_name,scale,offset,unit,reverse,data_type\\n1,x,1,0,,,float\"}")
	f.Add("{\"id\": 7, \"name\": \"a\", \"protocol\": \"modbus_tcp\", \"address\": \"[::1]:502\", \"modbus\": {\"retries\": 1, \"forbidden\": [{\"first\": 1, \"last\": 2}]}," +
		"\"points\": {\"adjustment\": \"point_id,signal_name,scale,offset,unit,reverse,data_type,safe_value\\n1,x,1,0,,,,2\"," +
		"\"adjustment_mapping\": \"point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\\n1,1,6,9,int8,,8\"}, \"safe_state\": {\"A:1\": 3}}")
	f.Add("id: [7]\nname: {a: b}\nprotocol: modbus_rtu\naddress: /dev/ttyS0\nserial: {baud_rate: x}\npoll_groups: {a: 1}\n")
	f.Add("id: 7\nname: &a a\nprotocol: grpc\naddress: unix:/x\ngrpc: {settings: {b: *a}}\nheartbeat: {point: A:1, period: 1s, values: count}\n")
	f.Add("id: 4294967296\n---\n")
	f.Add("a: &a [*a]\n")
	f.Add("!tag\n")
	f.Add("id: 7\nenabled: \"a\\n`b\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		site := &Site{protocols: []string{ProtocolModbusTCP, ProtocolModbusRTU, ProtocolModbusTLS, ProtocolVirtual, ProtocolGRPC}}
		made, err := site.ParseChannel([]byte(text))
		if err != nil {
			wantFaults(t, err, "")
			if strings.Contains(err.Error(), "cannot unmarshal") && !strings.Contains(text, "cannot unmarshal") {
				t.Fatalf("a fault in the words of Go: %v", err)
			}
			return
		}
		_ = CheckTogether(nil, []*MadeChannel{made})
		whole, err := WithTables(text, made.Tables())
		if err != nil {
			t.Fatalf("a document that was read takes no tables: %v", err)
		}
		again, err := site.ParseChannel([]byte(whole))
		if err != nil {
			t.Fatalf("with its own tables it is not taken: %v", err)
		}
		if diff := cmp.Diff(made.Channel, again.Channel); diff != "" {
			t.Fatalf("with its own tables it is another: %s", diff)
		}
	})
}
