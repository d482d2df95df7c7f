package comsrv

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// foreignPoints is what testdata/pymodbus_device.py holds, and what it is.
func foreignPoints() (points []config.MappedPoint, telemetry, signals map[string]string) {
	telemetry, signals = map[string]string{}, map[string]string{}
	add := func(kind ems.PointType, function byte, address uint16, data config.DataType, order config.ByteOrder, want string) {
		id := ems.PointID(len(points) + 1)
		points = append(points, mapped(kind, id, fmt.Sprintf("p%d", id), config.Mapping{
			Unit: 9, Function: function, Address: address, DataType: data, ByteOrder: order, Bit: -1,
		}))
		switch kind {
		case ems.Telemetry:
			telemetry[fmt.Sprint(id)] = want
		case ems.Signal:
			signals[fmt.Sprint(id)] = want
		}
	}
	add(ems.Telemetry, 3, 0, config.Float32, "ABCD", "230.250000")
	add(ems.Telemetry, 3, 2, config.Float32, "CDAB", "-41.500000")
	add(ems.Telemetry, 3, 4, config.Uint32, "ABCD", "4000000001.000000")
	add(ems.Telemetry, 3, 6, config.Int32, "CDAB", "-7.000000")
	add(ems.Telemetry, 3, 8, config.Float64, "ABCDEFGH", "1234567.890625")
	add(ems.Telemetry, 3, 12, config.Int64, "ABCDEFGH", "-1099511627776.000000")
	add(ems.Telemetry, 3, 16, config.Int16, "AB", "-300.000000")
	add(ems.Telemetry, 3, 199, config.Uint16, "AB", "65535.000000")
	add(ems.Telemetry, 4, 0, config.Int16, "AB", "215.000000")
	add(ems.Telemetry, 4, 126, config.Uint16, "AB", "3.000000")
	for address, want := range []string{"1", "0", "1", "1"} {
		add(ems.Signal, 1, uint16(address), config.Bool, "AB", want+".000000")
	}
	add(ems.Signal, 1, 100, config.Bool, "AB", "1.000000")
	for address, want := range []string{"1", "0", "1"} {
		add(ems.Signal, 2, uint16(7+address), config.Bool, "AB", want+".000000")
	}
	add(ems.Adjustment, 16, 40, config.Float32, "CDAB", "")
	add(ems.Adjustment, 6, 42, config.Int16, "AB", "")
	add(ems.Control, 5, 110, config.Bool, "AB", "")
	return points, telemetry, signals
}

// A device made with a library that nobody here wrote: every value is what it
// packed, commands reach it and read back, it may be killed and come back, and it may
// stand still.
func TestAForeignDevice(t *testing.T) {
	t.Parallel()
	python := testkit.Pymodbus(t)
	device := testkit.StartProgram(t, python, "testdata/pymodbus_device.py")
	points, telemetry, signals := foreignPoints()
	entry := field(1, device.Addr, points...)
	entry.PollPeriod, entry.Timeout = 200*time.Millisecond, 3*time.Second
	p := newPlant(t, entry)
	p.start()
	p.awaitHash("comsrv:1:T", telemetry)
	p.awaitHash("comsrv:1:S", signals)

	for _, write := range []struct {
		point, value, want string
	}{
		{"A/19", "-12.75", "-12.750000"}, {"A/20", "-5", "-5.000000"}, {"C/21", "1", "1.000000"}, {"C/21", "0", "0.000000"},
	} {
		status, reply := p.call(http.MethodPost, "/api/channels/1/points/"+write.point, `{"value": `+write.value+`, "by": "Ann"}`)
		if status != http.StatusOK || !strings.Contains(string(reply.Data), `"state":"done"`) {
			t.Fatalf("%s = %s: %d %s %s", write.point, write.value, status, reply.Data, reply.Error.Message)
		}
		kind, id, _ := strings.Cut(write.point, "/")
		p.eventually(func() error {
			if got := p.hash("comsrv:1:" + kind)[id]; got != write.want {
				return fmt.Errorf("%s", got)
			}
			return nil
		}, write.point+" = "+write.want)
	}

	device.Kill()
	p.awaitQuality(1, ems.Telemetry, ems.Bad, 1, 2, 10)
	device.Start()
	p.awaitQuality(1, ems.Telemetry, ems.Good, 1, 2, 10)
	p.awaitHash("comsrv:1:T", telemetry)
	device.Freeze()
	p.awaitQuality(1, ems.Telemetry, ems.Bad, 1, 2, 10)
	device.Thaw()
	p.awaitQuality(1, ems.Telemetry, ems.Good, 1, 2, 10)
}
