package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/ems"
)

const microgrid = "../../../scenarios/microgrid"

// freeFlags give every address of the microgrid a free port.
var freeFlags = []string{
	"--listen", "pv=127.0.0.1:0", "--listen", "battery=127.0.0.1:0", "--listen", "genset=127.0.0.1:0",
	"--listen", "load=127.0.0.1:0", "--listen", "grid=127.0.0.1:0", "--control", "127.0.0.1:0",
}

// serveLog is a log that can be read while it is written.
type serveLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *serveLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(data)
}

func (l *serveLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func serve(ctx context.Context, log io.Writer, args ...string) error {
	command := newServeCommand()
	command.SilenceUsage, command.SilenceErrors = true, true
	command.SetErr(log)
	command.SetOut(log)
	command.SetArgs(args)
	return command.ExecuteContext(ctx)
}

func TestServeRunsThePlantUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var log serveLog
	done := make(chan error, 1)
	go func() { done <- serve(ctx, &log, append([]string{microgrid}, freeFlags...)...) }()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "plant is running"); {
		if time.Now().After(deadline) {
			t.Fatalf("not running: %s", log.String())
		}
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	lines := regexp.MustCompile(`msg=listening (?:device|api)=(\w+) address=(\S+)`).FindAllStringSubmatch(log.String(), -1)
	addresses := map[string]string{}
	for _, line := range lines {
		addresses[line[1]] = line[2]
	}
	if len(lines) != 6 || len(addresses) != 6 {
		t.Fatalf("listening: %v", addresses)
	}
	handler := modbus.NewTCPClientHandler(addresses["genset"])
	handler.SlaveId, handler.Timeout = 3, 20*time.Second
	defer func() { _ = handler.Close() }()
	if data, err := modbus.NewClient(handler).ReadHoldingRegisters(1004, 1); err != nil || !bytes.Equal(data, []byte{0x40, 0x1F}) {
		t.Errorf("fuel % X, %v", data, err)
	}
	interrupt()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on after the interrupt")
	}
	for device, address := range addresses {
		if connection, err := net.Dial("tcp", address); err == nil {
			_ = connection.Close()
			t.Errorf("%s still listens at %s", device, address)
		}
	}
}

func TestServeRefusesBadInputInOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	busy := taken.Addr().String()
	cases := []struct {
		args []string
		code ems.Code
		want string
	}{
		{[]string{"nowhere"}, ems.CodeNotFound, `no plant "nowhere": name a folder that holds plant.yaml`},
		{[]string{microgrid, "--listen", "pv"}, ems.CodeInvalid, `--listen "pv": write it as DEVICE=HOST:PORT, for example pv=127.0.0.1:5021`},
		{[]string{microgrid, "--listen", "pv=:1", "--listen", "pv=:2"}, ems.CodeInvalid, `--listen names pv twice: give it one address`},
		{[]string{microgrid, "--listen", "wind=127.0.0.1:1"}, ems.CodeInvalid, microgrid + `/plant.yaml:11: key "devices": no device "wind" to give another address: there are battery, genset, grid, load, pv`},
		{[]string{microgrid, "--control", "0.0.0.0:80"}, ems.CodeInvalid, microgrid + `/plant.yaml:10: key "control": "0.0.0.0:80" is not on loopback: the control API asks for no password, use 127.0.0.1`},
		{append([]string{microgrid}, append(freeFlags, "--control", busy)...), ems.CodeConflict, "the plant cannot listen: " + busy + " (the control API) is in use: stop what listens there or give other addresses; --free takes free ones"},
	}
	for _, c := range cases {
		err := serve(context.Background(), io.Discard, c.args...)
		if err == nil || err.Error() != c.want || ems.CodeOf(err) != c.code {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}
