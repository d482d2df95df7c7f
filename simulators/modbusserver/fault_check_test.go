package modbusserver

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

// TestWhatAFaultMayNotSay: each field that is wrong is named.
func TestWhatAFaultMayNotSay(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"kind":"hum"}`:                                          "fault kind: there is no \"hum\": use one of silence, deaf, delay, exception, wrong_unit, wrong_function, wrong_transaction, truncated, extra_bytes, broken_crc, drip, replay, reset, refuse, single_client",
		`{"kind":"silence","unit":256}`:                           "fault unit: 256 is not between 0 and 255",
		`{"kind":"silence","unit":-1,"function":0}`:               "fault unit: -1 is not between 0 and 255; function: 0 is not between 1 and 127",
		`{"kind":"silence","function":128}`:                       "fault function: 128 is not between 1 and 127",
		`{"kind":"silence","first_address":65536}`:                "fault first_address: 65536 is not between 0 and 65535",
		`{"kind":"silence","last_address":5}`:                     "fault last_address: it needs first_address",
		`{"kind":"silence","first_address":6,"last_address":5}`:   "fault last_address: 5 lies before first_address",
		`{"kind":"silence","probability":1.1}`:                    "fault probability: 1.1 is not between 0 and 1",
		`{"kind":"silence","count":-1}`:                           "fault count: -1 is not between 0 and 1000000000",
		`{"kind":"silence","start_s":-1}`:                         "fault start_s: -1 is not between 0 and 1e+06",
		`{"kind":"silence","duration_s":1e9}`:                     "fault duration_s: 1e+09 is not between 0 and 1e+06",
		`{"kind":"delay"}`:                                        "fault delay_ms: how long is an answer to be late?",
		`{"kind":"delay","delay_ms":600001}`:                      "fault delay_ms: 600001 is not between 0 and 600000",
		`{"kind":"delay","delay_ms":1,"jitter_ms":-1}`:            "fault jitter_ms: -1 is not between 0 and 600000",
		`{"kind":"drip","delay_ms":1}`:                            "fault delay_ms: drip has none",
		`{"kind":"exception"}`:                                    "fault exception: 0 is not between 1 and 11",
		`{"kind":"exception","exception":12}`:                     "fault exception: 12 is not between 1 and 11",
		`{"kind":"silence","exception":2}`:                        "fault exception: silence has none",
		`{"kind":"refuse","unit":1}`:                              "fault unit: refuse is about connections, which have none",
		`{"kind":"single_client","function":3,"first_address":1}`: "fault function: single_client is about connections, which have none; first_address: single_client is about connections, which have none",
		`{"kind":"replay","unit":0,"function":1,"first_address":0,"last_address":65535,"probability":1,"seed":7,"count":1,"start_s":1,"duration_s":1}`: "",
	} {
		var fault Fault
		if err := json.Unmarshal([]byte(text), &fault); err != nil {
			t.Fatal(err)
		}
		err, got := fault.Check(), ""
		if err != nil {
			got = err.Error()
		}
		if got != want || err != nil && ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (&Fault{Kind: Silence, Probability: math.NaN()}).Check(); err == nil {
		t.Error("NaN is a probability")
	}
	line := startOn(t, newLine(t, ""), Options{Framing: RTU})
	for _, kind := range []Kind{Reset, Refuse, SingleClient} {
		if err := line.SetFaults([]Fault{{Kind: Silence}, {Kind: kind}}); err == nil || err.Error() != "faults[1]: fault kind: "+string(kind)+" needs connections, and a serial line has none" {
			t.Errorf("%v", err)
		}
	}
	if err := line.SetFaults(make([]Fault, 65)); ems.CodeOf(err) != ems.CodeInvalid {
		t.Errorf("65 faults: %v", err)
	}
	if line.Faults() != nil {
		t.Error("a fault was set all the same")
	}
}

// TestEveryKindIsListed with what it does, in one line.
func TestEveryKindIsListed(t *testing.T) {
	t.Parallel()
	seen := map[Kind]bool{}
	for _, kind := range FaultKinds() {
		if seen[kind.Kind] || kind.Does == "" || strings.Contains(kind.Does, "\n") || len(kind.Does) > 90 {
			t.Errorf("%+v", kind)
		}
		seen[kind.Kind] = true
	}
	if len(seen) != 15 {
		t.Errorf("%d kinds", len(seen))
	}
}
