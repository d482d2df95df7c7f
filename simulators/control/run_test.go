package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// Time is frozen, stepped, saved and restored, and the digests repeat.
func TestTimeIsUnderControl(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.want("GET", "/mode", "", 200, `{"success":true,"data":{"speed":1,"frozen":false}}`)
	f.want("POST", "/steps", "", 409, `{"success":false,"error":{"code":"CONFLICT","message":"the plant runs by itself: freeze it before it is stepped by hand"}}`)
	f.want("PUT", "/mode", `{"frozen": true}`, 200, `{"success":true,"data":{"speed":1,"frozen":true}}`)
	f.want("PUT", "/mode", `{"speed": 60}`, 200, `{"success":true,"data":{"speed":60,"frozen":true}}`)
	f.want("POST", "/steps", "", 200, `{"success":true,"data":{"tick":1,"simulated_time":"2026-06-21T11:00:00.1Z"}}`)
	f.want("POST", "/steps", `{"ticks": 9}`, 200, `{"success":true,"data":{"tick":10,"simulated_time":"2026-06-21T11:00:01Z"}}`)
	f.want("PUT", "/snapshots/early", "", 200, `{"success":true,"data":{"name":"early","tick":10}}`)
	digests := func() []string {
		var list []string
		for range 20 {
			f.ask("POST", "/steps", "")
			var answer struct{ Data truth }
			if _, text := f.ask("GET", "/truth", ""); json.Unmarshal([]byte(text), &answer) != nil || len(answer.Data.Digest) != 16 {
				t.Fatal(text)
			}
			list = append(list, answer.Data.Digest)
		}
		return list
	}
	want := digests()
	f.want("POST", "/snapshots/early/restore", "", 200, `{"success":true,"data":{"tick":10,"simulated_time":"2026-06-21T11:00:01Z"}}`)
	if diff := cmp.Diff(want, digests()); diff != "" {
		t.Error(diff)
	}
	// The state goes to a file of the plant's folder, and comes from there.
	_, text := f.ask("GET", "/snapshots/early", "")
	if err := os.WriteFile(filepath.Join(f.folder, "morning.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.want("GET", "/snapshots", "", 200, `{"success":true,"data":["early","morning"]}`)
	f.want("POST", "/snapshots/morning/restore", "", 200, `{"success":true,"data":{"tick":10,"simulated_time":"2026-06-21T11:00:01Z"}}`)
	f.want("PUT", "/snapshots/copy", text, 200, `{"success":true,"data":{"name":"copy","tick":10}}`)
	f.want("DELETE", "/snapshots/early", "", 200, `{"success":true,"data":{"name":"early"}}`)
	f.want("GET", "/snapshots", "", 200, `{"success":true,"data":["copy","morning"]}`)
	f.want("POST", "/back", `{"seconds": 0.5}`, 200, `{"success":true,"data":{"tick":1,"simulated_time":"2026-06-21T11:00:00.1Z"}}`)
}

func TestWhatCannotBeDoneWithTimeIsExplained(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ask("PUT", "/mode", `{"frozen": true}`)
	f.ask("POST", "/steps", "")
	for name, text := range map[string]string{"broken.json": "{", "other.json": `{"plant":"other"}`} {
		if err := os.WriteFile(filepath.Join(f.folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		message            string
	}{
		{"PUT", "/mode", `{}`, 400, `the body names neither speed nor frozen: send {\"speed\": 10}`},
		{"PUT", "/mode", `{"speed": 0}`, 400, `the speed cannot be 0: use 0.1 to 1000 simulated seconds for each second`},
		{"PUT", "/mode", `{"pace": 1}`, 400, `unknown field \"pace\"`},
		{"POST", "/steps", `{"ticks": 0}`, 400, `0 ticks cannot be made at once: use 1 to 1000000`},
		{"POST", "/back", `{}`, 400, `seconds: name the simulated time to go back, from 0 to 1e+06`},
		{"POST", "/back", `{"seconds": 60}`, 404, `the history does not reach back 1m0s: its oldest state is that of 0s ago`},
		{"POST", "/snapshots/none/restore", ``, 404, `no snapshot \"none\": there are broken, other`},
		{"GET", "/snapshots/none", ``, 404, `no snapshot \"none\"`},
		{"GET", "/snapshots/..%2fplant", ``, 400, `is no name of a snapshot: use up to 64`},
		{"POST", "/snapshots/broken/restore", ``, 400, `broken.json is no snapshot of a plant`},
		{"POST", "/snapshots/other/restore", ``, 400, `this is a snapshot of plant \"other\", and not of \"small\"`},
		{"PUT", "/snapshots/foreign", `{"plant":"other"}`, 400, `this is a snapshot of plant \"other\", and not of \"small\"`},
		{"GET", "/snapshots/foreign", ``, 404, `no snapshot \"foreign\": there are broken, other`}, // for it was refused
		{"PUT", "/snapshots/Bad", ``, 400, `is no name of a snapshot`},
		{"DELETE", "/snapshots/broken", ``, 404, `no saved snapshot \"broken\"`},
		{"GET", "/events?after=x", ``, 400, `after cannot be \"x\": use the number of an event`},
		{"GET", "/events?since=1", ``, 400, `parameter \"since\" is unknown: known here are after`},
		{"POST", "/steps?ticks=5", ``, 400, `parameter \"ticks\" is unknown: this takes none in the address`},
		{"PUT", "/snapshots/x?replace=1", ``, 400, `parameter \"replace\" is unknown`},
		{"PUT", "/mode?frozen=1", `{"speed": 1}`, 400, `parameter \"frozen\" is unknown`},
		{"GET", "/truth?device=load", ``, 400, `parameter \"device\" is unknown`},
		{"DELETE", "/faults", `{"id": 1}`, 400, `the request has a body, of which nothing is read here: leave it out`},
		{"GET", "/truth/wind", ``, 404, `no device \"wind\": the plant has grid, load`},
	} {
		if status, text := f.ask(c.method, c.path, c.body); status != c.status || !strings.Contains(text, c.message) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", c.method, c.path, c.body, status, text, c.status, c.message)
		}
	}
	for i := range mostSnapshots {
		f.ask("PUT", fmt.Sprintf("/snapshots/s%d", i), "")
	}
	if status, text := f.ask("PUT", "/snapshots/more", ""); status != 409 {
		t.Errorf("%d %s", status, text)
	}
}

// A server that is closed does not wait until all ticks are made that were asked for.
func TestClosingEndsSteps(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.ask("PUT", "/mode", `{"frozen": true}`)
	closed := make(chan error, 1)
	go func() {
		for deadline := time.Now().Add(20 * time.Second); f.plant.Latest() == nil && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		closed <- f.server.Close()
	}()
	status, text := f.ask("POST", "/steps", `{"ticks": 1000000}`)
	if status != 503 || !strings.Contains(text, " of 1000000 ticks are made: context canceled") {
		t.Errorf("%d %s", status, text)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A stream tells what happens as it happens, and goes on where it was left.
func TestEventsAreStreamed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.plant.Step(time.Now())
	f.ask("PUT", "/inputs/load/base_kw", `{"value": 50}`)
	f.plant.Step(time.Now())
	f.want("GET", "/events?after=7", "", 200, `{"success":true,"data":{"events":[],"forgotten":0}}`)
	open := func(last string) (*bufio.Scanner, func()) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		request, err := http.NewRequestWithContext(ctx, "GET", "http://"+f.server.Addr().String()+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		if last != "" {
			request.Header.Set("Last-Event-ID", last)
		}
		response, err := f.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(response.Body), func() {
			cancel()
			_ = response.Body.Close()
		}
	}
	next := func(lines *bufio.Scanner) string {
		t.Helper()
		var text []string
		for lines.Scan() && lines.Text() != "" {
			text = append(text, lines.Text())
		}
		return strings.Join(text, "|")
	}
	again, end := open("0")
	if got := next(again); !strings.HasPrefix(got, `id: 1|event: input|data: {"number":1,"tick":2,"kind":"input","device":"load","name":"base_kw","from":90,"to":50,"by":"control","effect":[{"name":"power_kw",`) {
		t.Error(got)
	}
	end()
	before, end := open("5000") // of a plant that ran before this one
	if got := next(before); !strings.HasPrefix(got, "id: 1|") {
		t.Error(got)
	}
	end()
	lines, end := open("")
	defer end()
	f.ask("PUT", "/inputs/grid/available", `{"value": 0}`)
	f.plant.Step(time.Now())
	if got := next(lines); !strings.HasPrefix(got, `id: 2|event: input|data: {"number":2,"tick":3,"kind":"input","device":"grid","name":"available","from":1,"to":0`) {
		t.Error(got)
	}
	if got := next(lines); got != `id: 3|event: signal|data: {"number":3,"tick":3,"kind":"signal","device":"grid","name":"connected","from":1,"to":0}` {
		t.Error(got)
	}
	if err := f.server.Close(); err != nil {
		t.Error(err)
	}
	for lines.Scan() {
		// until the stream has ended
	}
}

// The description names every route, and no other.
func TestTheDescriptionIsComplete(t *testing.T) {
	t.Parallel()
	f := start(t)
	_, text := f.ask("GET", "/openapi.yaml", "")
	var description struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal([]byte(text), &description); err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, methods := range description.Paths {
		for method := range methods {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	var routes []string
	for _, route := range f.server.routes {
		path := route.Path
		for _, name := range []string{"device", "input", "name", "id"} {
			path = strings.ReplaceAll(path, ":"+name, "{"+name+"}")
		}
		routes = append(routes, route.Method+" "+path)
	}
	sort.Strings(described)
	sort.Strings(routes)
	if diff := cmp.Diff(routes, described); diff != "" {
		t.Error(diff)
	}
}
