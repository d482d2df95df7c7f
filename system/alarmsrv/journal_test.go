package alarmsrv_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// journal reads the whole journal over the API, oldest first, in small pages.
func (f *fixture) journal(query string) (entries []ems.JournalEntry) {
	f.t.Helper()
	for after := ""; ; {
		response, err := http.Get(f.URL + "/api/alarms/journal?order=oldest&limit=7&after=" + after + query)
		if err != nil {
			f.t.Fatal(err)
		}
		var envelope struct{ Data []ems.JournalEntry }
		err = json.NewDecoder(response.Body).Decode(&envelope)
		response.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		if err != nil || response.StatusCode != http.StatusOK {
			f.t.Fatal(response.StatusCode, err)
		}
		entries = append(entries, envelope.Data...)
		if after = response.Header.Get("X-Next-After"); after == "" {
			return entries
		}
	}
}

// A working day of one plant, with everything that people and time do to alarms.
func TestTheJournalOfAScriptedDay(t *testing.T) {
	t.Parallel()
	f := start(t, ample, func(s *ems.AlarmSettings) {
		s.Escalation = []ems.EscalationStep{
			{Level: ems.Major, After: 15 * time.Minute, To: ems.Critical}, {Level: ems.Critical, After: 5 * time.Minute, Notify: "shift lead"},
		}
	})
	raise := func(source, rule string, level ems.AlarmLevel, value float64) string {
		var alarm ems.Alarm
		body := fmt.Sprintf(`{"source":%q,"rule":%q,"level":%q,"title":"%s of %s","value":%g,"worse":"high"}`, source, rule, level, rule, source, value)
		if status, text := f.Ask(http.MethodPost, "/api/alarms", body, &alarm); status != http.StatusCreated {
			t.Fatal(text)
		}
		return alarm.ID
	}
	hot := raise("cell", "hot", ems.Major, 56.5)
	f.pass(14 * time.Minute)
	f.do(hot, "comment", `{"by":"Ann","text":"looking at it\nfan 2?"}`)
	f.pass(time.Minute) // nobody has acknowledged: it becomes critical
	f.pass(5 * time.Minute)
	raise("cell", "hot", ems.Major, 58)
	f.do(hot, "acknowledge", `{"by":"Ann","occurrence":2}`)
	f.do(hot, "resolve", `{"by":"rule:hot"}`)

	f.pass(time.Hour)
	leak := raise("pump", "leak", ems.Minor, 1)
	f.do(leak, "shelve", `{"by":"Ben","reason":"spare part comes tomorrow","for":"2h"}`)
	f.do(leak, "resolve", `{"by":"Ben"}`)
	f.pass(time.Minute)
	raise("pump", "leak", ems.Minor, 2) // returns, and nobody is told
	f.pass(2 * time.Hour)               // the shelf expires

	if status, text := f.Ask(http.MethodPost, "/api/alarms/suppressions",
		`{"id":"pv","scope":"source","value":"pv:","by":"Ann","reason":"inverters are replaced","for":"4h"}`, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	raise("pv:1", "dead", ems.Critical, 0)
	dark := raise("pv:2", "dark", ems.Info, 0)
	f.do(dark, "acknowledge", `{"by":"Ann","occurrence":1}`)
	f.do(dark, "resolve", `{"by":"Ann"}`)
	f.pass(4 * time.Hour) // the suppression ends: pv:1 is announced

	for i := range 3 {
		door := raise("door", "", ems.Warning, float64(i))
		f.pass(10 * time.Second)
		f.do(door, "resolve", `{"by":"Cem"}`)
	}
	f.pass(time.Minute) // it chatters no more
	var lines []string
	for _, e := range f.journal("") {
		value := ""
		if e.Value != nil {
			value = fmt.Sprint(*e.Value)
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s  %-11s %1s %-22s > %-22s %-8s by %-9s %s #%d %s %q", e.Time.UTC().Format(time.TimeOnly), e.Event,
			e.Alarm, e.From, e.To, e.Level, e.By, e.Source, e.Occurrence, value, e.Text), " "))
	}
	compareGolden(t, "journal.golden", strings.Join(lines, "\n")+"\n")
	if of := f.journal("&alarm=" + leak); len(of) != 5 {
		t.Errorf("alarm %s has %d entries", leak, len(of))
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Same(t, strings.Split(got, "\n"), strings.Split(string(want), "\n"))
}

func TestBadQuestionsToTheJournalAreRefused(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	for query, message := range map[string]string{
		"?limit=201": "limit", "?after=x": "not the id of an entry", "?alarm=a%20b": "alarm", "?order=up": "newest or oldest",
	} {
		f.Refused(http.MethodGet, "/api/alarms/journal"+query, "", http.StatusBadRequest, ems.CodeInvalid, message)
	}
	for _, first := range []string{"0-0", "00-000"} {
		if status, text := f.Ask(http.MethodGet, "/api/alarms/journal?after="+first, "", nil); status != http.StatusOK || !strings.Contains(text, `"data":[]`) {
			t.Errorf("before the first entry of all, %s: %d %s", first, status, text)
		}
	}
	f.Refused(http.MethodGet, "/api/alarms/events?after=1-", "", http.StatusBadRequest, ems.CodeInvalid, "not the id of an entry")
	f.Refused(http.MethodGet, "/api/alarms/journal?alarms=x", "", http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "alarms"`)
}

// follower is one client of the live events.
type follower struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel func()
}

// followEvents begins to follow after an entry, or at the newest one.
func (f *fixture) followEvents(t *testing.T, after string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), servicetest.Soon)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+"/api/alarms/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(response.Status)
	}
	one := &follower{t: t, lines: bufio.NewScanner(response.Body), cancel: func() { cancel(); response.Body.Close() }}
	t.Cleanup(one.cancel)
	one.next() // retry
	return one
}

// next returns the next block of the stream.
func (f *follower) next() string {
	f.t.Helper()
	var block []string
	for f.lines.Scan() {
		if f.lines.Text() == "" {
			return strings.Join(block, "\n")
		}
		block = append(block, f.lines.Text())
	}
	f.t.Fatalf("the stream ends: %v", f.lines.Err())
	return ""
}

func (f *follower) entry() (entry ems.JournalEntry) {
	f.t.Helper()
	block := f.next()
	lines := strings.SplitN(block, "\n", 3)
	if len(lines) != 3 || lines[1] != "event: alarm" {
		f.t.Fatalf("not an event: %q", block)
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[2], "data: ")), &entry); err != nil || "id: "+entry.ID != lines[0] {
		f.t.Fatalf("%q: %v", block, err)
	}
	return entry
}

func TestLiveEventsLoseNothingOverAReconnect(t *testing.T) {
	t.Parallel()
	f := start(t, ample, func(s *ems.AlarmSettings) { s.JournalLimit = 5000 })
	f.raise("before", ems.Info)
	first := f.followEvents(t, "")
	last := ""
	for i := range 3 {
		id := f.raise(fmt.Sprintf("a:%d", i), ems.Info)
		entry := first.entry()
		servicetest.Same(t, []string{entry.Event, entry.Alarm, entry.Source}, []string{"raise", id, fmt.Sprintf("a:%d", i)})
		last = entry.ID
	}
	first.cancel()
	// More than one page, and more than the service keeps in memory, happens meanwhile.
	const missed = 2500
	f.fill("b", missed)
	again := f.followEvents(t, last)
	for i := range missed {
		if entry := again.entry(); entry.Source != fmt.Sprintf("b:%d", i) {
			t.Fatalf("entry %d is about %s", i, entry.Source)
		}
	}
	f.raise("c", ems.Info)
	servicetest.Same(t, again.entry().Source, "c")
	// The stream waits anew after each entry: it may just have begun to when time passes.
	heard := make(chan string, 1)
	go func() { heard <- again.next() }()
	testkit.Eventually(t, servicetest.Soon, func() error {
		f.clock.Advance(15 * time.Second)
		select {
		case line := <-heard:
			servicetest.Same(t, line, ": still here")
			return nil
		default:
			return errors.New("nothing is heard")
		}
	}, "a sign of life")

	f.fill("d", 4000) // now the journal is trimmed, and cannot have all
	late := f.followEvents(t, last)
	servicetest.Same(t, late.next(), "event: gap\ndata: {}")
	late.entry()
}

func TestFollowersAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	for range 100 {
		f.followEvents(t, "")
	}
	f.Refused(http.MethodGet, "/api/alarms/events", "", http.StatusServiceUnavailable, ems.CodeUnavailable, "100 clients")
}
