package managed

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"

	"github.com/voltageems/voltageems-go/system/ems"
)

func newInflux(t *testing.T) *Influx {
	t.Helper()
	checkout, err := FindCheckout(".")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := FindInflux(context.Background(), BinaryFolder(checkout))
	if err != nil {
		t.Fatal(err)
	}
	return &Influx{
		Binary: binary, Dir: filepath.Join(t.TempDir(), `with "quote" and space`), Port: freePort(t), RPCPort: freePort(t),
		User: `o'user"x"`, Password: `p'a\ss"word`, Database: "ems_data",
	}
}

func influxChild(i *Influx) Child {
	return Child{Name: "influxdb", Start: i.Start, Probe: i.Probe, Prepare: i.Prepare}
}

func TestInfluxTakesWritesAndFluxQueriesAndKeepsThem(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := newInflux(t)
	s := supervise(t, ems.SystemClock{}, influxChild(server))
	s.awaitReady(t)
	client := influxdb2.NewClient(server.URL(), server.Token())
	defer client.Close()
	err := client.WriteAPIBlocking(server.Organization(), server.Bucket()).WriteRecord(ctx, "power,channel=1001 kw=12.5 1700000000000000000")
	if err != nil {
		t.Fatal(err)
	}
	query := func() []any {
		t.Helper()
		result, err := client.QueryAPI(server.Organization()).Query(ctx,
			`from(bucket:"ems_data/autogen") |> range(start: 2023-11-14T00:00:00Z, stop: 2023-11-15T00:00:00Z)`)
		if err != nil {
			t.Fatal(err)
		}
		var values []any
		for result.Next() {
			values = append(values, result.Record().Time().Unix(), result.Record().Field(), result.Record().Value())
		}
		return values
	}
	check := func() {
		t.Helper()
		got := query()
		if len(got) != 3 || got[0] != int64(1_700_000_000) || got[1] != "kw" || got[2] != 12.5 {
			t.Errorf("read %v", got)
		}
	}
	check()
	checkRefusals(t, server)
	if err := syscall.Kill(s.Status()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "a restart", func() bool { return s.Status()[0].Restarts == 1 })
	s.awaitReady(t)
	check()
	if err := s.stop(t); err != nil {
		t.Error(err)
	}
}

// checkRefusals asks with credentials that are not the administrator's.
func checkRefusals(t *testing.T, server *Influx) {
	t.Helper()
	ctx := context.Background()
	for _, token := range []string{"", "nobody:nothing"} {
		client := influxdb2.NewClient(server.URL(), token)
		if err := client.WriteAPIBlocking(server.Organization(), server.Bucket()).WriteRecord(ctx, "m f=1"); err == nil {
			t.Errorf("token %q was let in", token)
		}
		client.Close()
	}
	changed := *server
	changed.Password = "another"
	err := changed.Prepare(ctx)
	if ems.CodeOf(err) != ems.CodeDenied || err == nil || !strings.Contains(err.Error(), "was set up with another name or password") {
		t.Errorf("with another password: %v", err)
	}
}

func TestInfluxOnATakenPort(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	server := newInflux(t)
	server.RPCPort = listener.Addr().(*net.TCPAddr).Port
	err = supervise(t, ems.SystemClock{}, influxChild(server)).end(t)
	if err == nil || !strings.Contains(err.Error(), "influxd ended with exit status 1") || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v", err)
	}
}

func TestFindInflux(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	folder := fakeProgram(t, "influxd", `echo "InfluxDB v1.8.4 (git: master abc)"`)
	if path, err := FindInflux(ctx, t.TempDir(), folder); path != filepath.Join(folder, "influxd") || err != nil {
		t.Errorf("found %q (%v)", path, err)
	}
	_, err := FindInflux(ctx, fakeProgram(t, "influxd", `echo "InfluxDB v2.7.1 (git: abc)"`))
	if ems.CodeOf(err) != ems.CodeNotFound || !strings.Contains(err.Error(), `is "InfluxDB v2.7.1 (git: abc)", not version 1.8.x: run make setup`) {
		t.Errorf("version 2: %v", err)
	}
	_, err = FindInflux(ctx, fakeProgram(t, "influxd", "exit 3"))
	if ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("broken: %v", err)
	}
}

func TestFindCheckout(t *testing.T) {
	t.Parallel()
	root, err := FindCheckout(".")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Dir(filepath.Dir(here)); root != want {
		t.Errorf("checkout %s, want %s", root, want)
	}
	if _, err := FindCheckout(t.TempDir()); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("outside: %v", err)
	}
}

func TestInfluxNamesThatMakeNoToken(t *testing.T) {
	t.Parallel()
	for _, server := range []Influx{{User: "a:b", Password: "c"}, {User: "a b", Password: "c"}, {User: "a", Password: "b c"}} {
		if _, err := server.Start(context.Background()); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%q %q: %v", server.User, server.Password, err)
		}
	}
}
