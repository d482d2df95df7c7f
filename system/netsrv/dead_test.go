package netsrv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// deadLetter is the wire form of a dead letter.
type deadLetter struct {
	ID, Target, Notification, Reason string
	Attempts                         int
	Time                             time.Time
	Document                         letter
}

// dead lists all dead letters, newest first, two at a time.
func (f *told) dead() (all []deadLetter) {
	f.t.Helper()
	for after := ""; ; {
		code, text := f.Ask(http.MethodGet, "/api/network/dead?limit=2&after="+after, "", nil)
		var page struct {
			Data []deadLetter
			Next string
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || code != http.StatusOK {
			f.t.Fatalf("%d %s: %v", code, text, err)
		}
		all = append(all, page.Data...)
		if after = page.Next; after == "" {
			return all
		}
	}
}

func TestWhatIsNeverTakenBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	f := newTold(t, config.NotifyTarget{Name: "duty", URL: r.URL, GiveUpAfter: 7 * 24 * time.Hour})
	r.set(func(got letter, _ int) int {
		switch got.Source {
		case "refused":
			return http.StatusUnprocessableEntity
		case "poison":
			return http.StatusInternalServerError
		case "late":
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	f.start()
	f.raise(ems.Info, "refused", "poison", "good")
	f.await(30*time.Second, func() error {
		if got := names(r.letters()); len(got) != 1 || got[0] != "alarm 3" {
			return fmt.Errorf("taken are %q", got)
		}
		return nil
	}, "the poison to give way")
	f.raise(ems.Info, "late")
	f.await(0, func() error {
		if got := f.standings()[0]; got.LastError != "the target answered 503 Service Unavailable" {
			return errors.New(got.LastError)
		}
		return nil
	}, "the first attempt with the late one")
	servicetest.Same(t, f.standings()[0].Dead, int64(2))
	f.clock.Advance(7 * 24 * time.Hour) // it is too old now, and is tried once more
	f.awaitStandings(time.Second, standing{
		Name: "duty", Target: r.URL, Delivered: 1, Dead: 3, DeadLetters: 3, LastError: "the target answered 503 Service Unavailable",
	})
	letters := f.dead()
	var got []string
	for _, one := range letters {
		got = append(got, one.Target+" "+one.Document.Source+" "+one.Reason)
		if one.Notification != one.Document.ID || !strings.HasPrefix(one.Notification, "north%201:alarmsrv:") || one.Document.Site != "north 1" {
			t.Errorf("%+v", one)
		}
		if one.Attempts != r.times[one.Document.ID] {
			t.Errorf("%s has had %d attempts, and says %d", one.Document.Source, r.times[one.Document.ID], one.Attempts)
		}
	}
	servicetest.Same(t, got, []string{
		"duty late the target answered 503 Service Unavailable", "duty poison the target answered 500 Internal Server Error",
		"duty refused the target refused it: 422 Unprocessable Entity",
	})
	servicetest.Same(t, letters[1].Attempts, 30)
	servicetest.Same(t, letters[2].Attempts, 1)
	_, text := f.Ask(http.MethodGet, "/metrics", "", nil)
	for _, line := range []string{
		`voltage_netsrv_notifications_total{outcome="delivered",target="duty"} 1`, `voltage_netsrv_notifications_total{outcome="dead",target="duty"} 3`,
		fmt.Sprintf(`voltage_netsrv_notification_failures_total{target="duty"} %d`, 31+letters[0].Attempts), "voltage_netsrv_dead_letters_dropped_total 0",
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %s in the metrics", line)
		}
	}
	if text := f.log.String(); strings.Count(text, "a notification was not taken and is a dead letter now") != 3 {
		t.Errorf("logged is %s", text)
	}
}

func TestADeadLetterIsGivenAgain(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.set(always(http.StatusUnprocessableEntity))
	f := newTold(t, config.NotifyTarget{Name: "duty", URL: r.URL}, config.NotifyTarget{Name: "other", URL: closed(t), Kinds: []string{ems.NotifyRule}})
	stop := f.start()
	f.raise(ems.Info, "pump", "fan")
	f.await(0, func() error {
		if got := f.standings()[0]; got.Dead != 2 || got.Waiting != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	}, "two dead letters")
	letters := f.dead()
	retry := func(id string) string { return "/api/network/dead/" + id + "/retry" }
	f.Refused(http.MethodPost, retry(letters[0].ID), "", http.StatusServiceUnavailable, ems.CodeUnavailable, "duty did not take it: the target refused it: 422")
	servicetest.Same(t, len(f.dead()), 2)
	r.set(nil)
	var taken deadLetter
	if code, text := f.Ask(http.MethodPost, retry(letters[0].ID), "", &taken); code != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, taken, letters[0])
	servicetest.Same(t, r.letters(), []letter{letters[0].Document})
	servicetest.Same(t, f.dead(), letters[1:])
	f.Refused(http.MethodPost, retry(letters[0].ID), "", http.StatusNotFound, ems.CodeNotFound, "no dead letter "+letters[0].ID)
	f.Refused(http.MethodPost, retry("x"), "", http.StatusBadRequest, ems.CodeInvalid, `"x" is not the id of an entry`)
	f.Refused(http.MethodGet, "/api/network/dead?after=x", "", http.StatusBadRequest, ems.CodeInvalid, `"x" is not the id of an entry`)
	f.Refused(http.MethodGet, "/api/network/dead?limt=2", "", http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "limt"`)
	f.Refused(http.MethodGet, "/api/network/dead?limit=0", "", http.StatusBadRequest, ems.CodeInvalid, "limit")
	stop()

	// A target that logs takes it as well; one that left cannot.
	f.notify = f.notify[1:]
	stop = f.start()
	f.Refused(http.MethodPost, retry(letters[1].ID), "", http.StatusConflict, ems.CodeConflict, `target "duty" is not under notify in forward.yaml any more`)
	stop()
	f.notify = []config.NotifyTarget{{Name: "duty", Log: true}}
	f.start()
	if code, text := f.Ask(http.MethodPost, retry(letters[1].ID), "", nil); code != http.StatusOK {
		t.Fatal(text)
	}
	if text := f.log.String(); !strings.Contains(text, `"msg":"notification","target":"duty","notification":{"id":"`+letters[1].Notification+`"`) {
		t.Errorf("logged is %s", text)
	}
	servicetest.Same(t, len(f.dead()), 0)
}
