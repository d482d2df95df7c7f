package grpc

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// FuzzAnswer: whatever bytes an answer has, it is refused, or it gives each point of
// the group a finite number or a reason.
func FuzzAnswer(f *testing.F) {
	for _, readings := range [][]*driverpb.Reading{
		nil, {{Point: 0, Raw: 1}, {Point: 2, Raw: math.NaN()}}, {{Point: 1}}, {{Point: 0, Reason: "broken"}, {Point: 0}},
		{{Point: 0, Raw: 1, Uncertain: true, Reason: "warming up"}, {Point: 2, Raw: math.Inf(1), Uncertain: true}},
	} {
		answer, err := proto.Marshal(&driverpb.ReadBatchResponse{Readings: readings})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var answer driverpb.ReadBatchResponse
		if proto.Unmarshal(text, &answer) != nil {
			return
		}
		points := make([]config.MappedPoint, 3)
		points[1].Group = "other"
		of := groupsOf(points)[""]
		if of.take(answer.GetReadings()) != nil {
			return
		}
		if len(of.readings) != 2 || of.readings[0].Point != 0 || of.readings[1].Point != 2 {
			t.Fatalf("%+v", of.readings)
		}
		for _, reading := range of.readings {
			finite := !math.IsNaN(reading.Raw) && !math.IsInf(reading.Raw, 0)
			if !finite || (reading.Quality == ems.Good) != (reading.Reason == "") || len(reading.Reason) > reasonBytes+len("…") {
				t.Fatalf("%+v", reading)
			}
		}
	})
}
