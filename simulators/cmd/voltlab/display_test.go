package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/managed"
)

var healthyStanding = standing{
	uptime: 3*time.Minute + 400*time.Millisecond,
	children: []managed.Status{
		{Name: "redis", State: managed.Ready, PID: 11}, {Name: "voltage", State: managed.Ready, PID: 12, Restarts: 1},
	},
	online: 5, channels: 5, points: 412.4, alarms: 1,
}

func newTerminal(width int) (*display, *bytes.Buffer) {
	out := &bytes.Buffer{}
	d := &display{terminal: true, out: out, width: func() int { return width }}
	d.logger = slog.New(d.handler())
	return d, out
}

const summaryOf80 = `
VoltageEMS microgrid · up 3m0s · Ctrl-C stops everything
  processes redis 11 · voltage 12 (restarted 1×)
  services  all 7 healthy
  channels  5 of 5 online
  points    412 per second
  alarms    1 active
  browser   http://127.0.0.1:6005/
`

func TestSummaryIsRedrawnInPlace(t *testing.T) {
	t.Parallel()
	d, out := newTerminal(80)
	places := []place{{"browser", "http://127.0.0.1:6005/"}}
	d.places(places)
	d.show("microgrid", healthyStanding, places)
	if out.String() != summaryOf80 {
		t.Errorf("first drawing %q\nwant %q", out, summaryOf80)
	}
	lines := strings.Count(summaryOf80, "\n")
	back := fmt.Sprintf("\x1b[%dA\r\x1b[J", lines)

	out.Reset()
	d.show("microgrid", healthyStanding, places)
	if want := back + summaryOf80; out.String() != want {
		t.Errorf("second drawing %q\nwant %q", out, want)
	}

	out.Reset()
	if _, err := d.Write([]byte("a log line\n")); err != nil {
		t.Fatal(err)
	}
	if want := back + "a log line\n" + summaryOf80; out.String() != want {
		t.Errorf("with a log line %q\nwant %q", out, want)
	}

	out.Reset()
	d.close()
	if _, err := d.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if out.String() != "the end\n" {
		t.Errorf("after the close %q", out)
	}
}

func TestSummaryOfANarrowTerminal(t *testing.T) {
	t.Parallel()
	d, out := newTerminal(30)
	d.show("microgrid", healthyStanding, nil)
	for _, line := range strings.Split(out.String(), "\n") {
		if length := len([]rune(line)); length > 29 {
			t.Errorf("%d characters: %q", length, line)
		}
	}
	if want := "\n  processes redis 11 · volta…\n"; !strings.Contains(out.String(), want) {
		t.Errorf("drawn %q, want %q in it", out, want)
	}
}

func TestLogLinesAlone(t *testing.T) {
	t.Parallel()
	out := &bytes.Buffer{}
	d := &display{out: out}
	d.logger = slog.New(d.handler())
	d.places([]place{{"browser", "http://127.0.0.1:6005/"}})
	d.show("microgrid", standing{unhealthy: []string{"comsrv", "hissrv"}, channels: -1, points: -1, alarms: -1, children: []managed.Status{
		{Name: "redis", State: managed.BackingOff, Restarts: 2},
	}}, nil)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	want := []string{
		` level=INFO msg=look browser=http://127.0.0.1:6005/`,
		` level=INFO msg=standing processes="redis backing off (restarted 2×)" services="not healthy: comsrv, hissrv" channels=unknown points=measuring alarms=unknown`,
	}
	if len(lines) != len(want) {
		t.Fatalf("wrote %q", out)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "time=") || !strings.HasSuffix(line, want[i]) {
			t.Errorf("line %q, want …%s", line, want[i])
		}
	}
}

func TestSumMetric(t *testing.T) {
	t.Parallel()
	const text = `# HELP voltage_comsrv_points_total Points that polls have read.
# TYPE voltage_comsrv_points_total counter
voltage_comsrv_points_total{channel="1001"} 120
voltage_comsrv_points_total{channel="a } b"} 1.5e+03 1700000000000
voltage_comsrv_points_total 3
voltage_comsrv_points_total_other{channel="1001"} 7
voltage_comsrv_points 9
voltage_comsrv_points_total{channel="broken"}
`
	if got := sumMetric(text, pointsMetric); got != 1623 {
		t.Errorf("sum %v, want 1623", got)
	}
	if got := sumMetric("", pointsMetric); got != 0 {
		t.Errorf("sum of nothing %v", got)
	}
}
