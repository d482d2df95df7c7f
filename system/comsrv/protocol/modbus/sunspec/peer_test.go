package sunspec

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	peer "github.com/andig/gosunspec"
	over "github.com/andig/gosunspec/modbus"
	_ "github.com/andig/gosunspec/models" // which registers what that library knows of each model
	client "github.com/grid-x/modbus"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// serve puts registers behind a socket, where all others are refused.
func serve(t *testing.T, registers image) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ranges []modbusserver.Range
	for at := range registers {
		ranges = append(ranges, modbusserver.Range{Table: modbusserver.HoldingRegisters, Address: at, Count: 1})
	}
	unit := modbusserver.NewUnit(ranges, nil)
	unit.Update(func(image *modbusserver.Image) {
		for at, word := range registers {
			image.Set(modbusserver.HoldingRegisters, at, word)
		}
	})
	server, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{1: unit}, modbusserver.Options{
		Name: "sunspec", Clock: ems.SystemClock{}, Logger: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// peerValues reads a device with a library that nobody here wrote: values by the
// names that a proposal gives, those that are not there left out.
func peerValues(t *testing.T, address string) map[string]string {
	t.Helper()
	handler := client.NewTCPClientHandler(address)
	handler.SlaveID = 1
	t.Cleanup(func() { _ = handler.Close() })
	found, err := over.Open(client.NewClient(handler))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	found.Do(func(device peer.Device) {
		device.Do(func(model peer.Model) {
			block := 0
			model.Do(func(part peer.Block) {
				if err := part.Read(); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("m%d_", model.Id())
				if block > 0 {
					name += fmt.Sprintf("%d_", block)
				}
				block++
				part.Do(func(point peer.Point) {
					if value := peerValue(point); value != "" {
						values[name+point.Id()] = value
					}
				})
			})
		})
	})
	return values
}

func peerValue(point peer.Point) string {
	switch kind := point.Type(); {
	case kind == "string":
		return strings.TrimRight(point.StringValue(), "\x00")
	case kind == "sunssf" || kind == "pad" || point.NotImplemented():
		return ""
	case strings.HasPrefix(kind, "enum") || strings.HasPrefix(kind, "bitfield") || kind == "count":
		return fmt.Sprintf("%d", point.Value())
	default:
		return rounded(point.ScaledValue())
	}
}

// rounded is a number without what the order of two multiplications changes.
func rounded(number float64) string {
	if math.IsNaN(number) {
		return ""
	}
	return fmt.Sprintf("%.9g", number)
}

// TestAnotherLibraryReadsTheSame of a device on a real socket as a channel with the
// points that are proposed.
func TestAnotherLibraryReadsTheSame(t *testing.T) {
	t.Parallel()
	registers := device()
	registers[40024] = '0' << 8                         // letters alone
	registers[40112], registers[40113] = 0xFFFF, 0xFFFF // of bits that are not there that library wants all set
	registers[40132] = 0                                // without an exponent it has no value
	registers[40135] = 3                                // it counts modules by the length of the model
	address := serve(t, registers)
	links, err := modbus.NewLinks(ems.SystemClock{}, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	channel := config.Channel{ID: 1, Protocol: config.ProtocolModbusTCP, Address: address, Timeout: 5 * time.Second, PollPeriod: 5 * time.Second}
	driver, err := links.New(protocol.Setting{Channel: channel, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	found, err := Scan(func(address uint16, count int) ([]uint16, error) {
		return driver.(protocol.Addressable).ReadRange(context.Background(), protocol.Range{Unit: 1, Function: 3, Address: address, Count: count})
	}, 125)
	if closeErr := driver.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	var proposal Proposal
	proposal.Propose(found, 1, "", false)
	channel.Points = proposal.Points
	if driver, err = links.New(protocol.Setting{Channel: channel, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)}); err != nil {
		t.Fatal(err)
	}
	defer driver.Close()
	if err := driver.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	want := peerValues(t, address)
	for _, reading := range readings {
		point := &channel.Points[reading.Point]
		got := rounded(point.FromRaw(reading.Raw))
		if point.Mapping.IsText() {
			got = reading.Text
		}
		if reading.Quality != ems.Good || want[point.Name] != got {
			t.Errorf("%s is %q (%s), and the other library reads %q", point.Name, got, reading.Reason, want[point.Name])
		}
		delete(want, point.Name)
	}
	if len(want) > 0 || len(readings) < 40 {
		t.Errorf("%d points; the other library has more: %v", len(readings), want)
	}
}
