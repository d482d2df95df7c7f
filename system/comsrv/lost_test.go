package comsrv

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestLostIsWhatHasNoValueAnyMore: a text that stays one is not lost, so that a model
// which names it holds up no change of its channel.
func TestLostIsWhatHasNoValueAnyMore(t *testing.T) {
	number := config.Mapping{Function: 3, DataType: config.Uint16}
	text := config.Mapping{Function: 3, DataType: config.String, Length: 2}
	of := func(kind ems.PointType, id ems.PointID, mapping config.Mapping) config.MappedPoint {
		return mapped(kind, id, "x", mapping)
	}
	before := []config.MappedPoint{
		of(ems.Telemetry, 1, number), of(ems.Telemetry, 2, number), of(ems.Telemetry, 3, number),
		of(ems.Telemetry, 4, text), of(ems.Telemetry, 5, text), of(ems.Telemetry, 6, text), of(ems.Adjustment, 1, number),
	}
	after := []config.MappedPoint{
		of(ems.Telemetry, 1, number), of(ems.Telemetry, 2, text), of(ems.Adjustment, 3, number),
		of(ems.Telemetry, 4, text), of(ems.Telemetry, 5, number), of(ems.Adjustment, 1, number),
	}
	if diff := cmp.Diff(map[ems.PointType][]ems.PointID{ems.Telemetry: {2, 3, 6}}, lost(before, after)); diff != "" {
		t.Error(diff)
	}
}
