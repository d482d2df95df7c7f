package grpc_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	remote "google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/conformance"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = "github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/example"

// TestConformance runs the driver with the example as a process of its own.
func TestConformance(t *testing.T) {
	program := testkit.Build(t, example)
	conformance.Run(t, func(t *testing.T) conformance.Subject {
		device := newFolder(t, program)
		return conformance.Subject{
			Factory: grpc.New, Device: device,
			Channel: config.Channel{
				ID: 1, Name: "folder", Protocol: grpc.Name, Address: device.program.Addr, Points: device.points,
				GRPC: config.GRPC{Settings: map[string]string{"folder": device.path}},
			},
		}
	})
}

// folder is the device of the example as conformance.Device.
type folder struct {
	t        *testing.T
	path     string
	program  *testkit.Program
	points   []config.MappedPoint
	barriers int
}

func newFolder(t *testing.T, program string) *folder {
	t.Helper()
	f := &folder{t: t, path: t.TempDir(), program: testkit.StartProgram(t, program, "--listen")}
	for i, kind := range []ems.PointType{
		ems.Telemetry, ems.Telemetry, ems.Telemetry, ems.Signal, ems.Signal, ems.Control, ems.Control, ems.Adjustment, ems.Adjustment,
	} {
		point := config.MappedPoint{Point: ems.Point{
			ID: ems.PointID(i + 1), Type: kind, Name: fmt.Sprintf("point_%d", i), Scale: 1, Group: ems.DefaultGroup,
		}}
		if i%2 == 1 {
			point.Group, point.Mapping.Text = "slow", fmt.Sprintf("file_%d", i)
		}
		f.points = append(f.points, point)
	}
	return f
}

// file is what the driver takes for a point: its address, else its name.
func (f *folder) file(point int) string {
	if address := f.points[point].Mapping.Text; address != "" {
		return filepath.Join(f.path, address)
	}
	return filepath.Join(f.path, f.points[point].Name)
}

func (f *folder) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) Hold(point int, raw float64) {
	f.must(os.WriteFile(f.file(point), []byte(strconv.FormatFloat(raw, 'f', -1, 64)), 0o600))
}

func (f *folder) Doubt(point int, reason string) {
	held, err := os.ReadFile(f.file(point))
	f.must(err)
	f.must(os.WriteFile(f.file(point), append(held, " "+reason...), 0o600))
}

// Executed finds the writes in what the program printed. What it printed before is
// known to have arrived once the answer to one more call has.
func (f *folder) Executed(point int) []float64 {
	f.barriers++
	name := fmt.Sprintf("barrier_%d", f.barriers)
	conn, err := remote.NewClient(f.program.Addr, remote.WithTransportCredentials(insecure.NewCredentials()))
	f.must(err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	_, err = driverpb.NewDriverClient(conn).Configure(ctx, &driverpb.ConfigureRequest{
		Session: name, Channel: 999, Name: name, Settings: map[string]string{"folder": f.path},
	}, remote.WaitForReady(true))
	f.must(err)
	testkit.Eventually(f.t, time.Minute, func() error {
		if len(f.program.Printed("name="+name)) == 0 {
			return fmt.Errorf("it is not printed yet")
		}
		return nil
	}, "what the program printed")
	var executed []float64
	for _, line := range f.program.Printed("msg=written file=" + filepath.Base(f.file(point)) + " ") {
		_, text, _ := strings.Cut(line, "raw=")
		raw, err := strconv.ParseFloat(text, 64)
		f.must(err)
		executed = append(executed, raw)
	}
	return executed
}

func (f *folder) Refuse(point int, refused bool) {
	file := f.file(point)
	if refused {
		f.must(os.Rename(file, file+".away"))
	} else {
		f.must(os.Rename(file+".away", file))
	}
}

func (f *folder) Hang(hung bool) {
	if hung {
		f.program.Freeze()
	} else {
		f.program.Thaw()
	}
}

func (f *folder) Away(away bool) {
	if away {
		f.program.Kill()
	} else {
		f.program.Start()
	}
}
