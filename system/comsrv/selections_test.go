package comsrv

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// TestSelectBeforeOperate goes through the life of selections over HTTP.
func TestSelectBeforeOperate(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Points[3].SelectTimeout = time.Minute
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	const point = "/api/channels/1/points/C/1"
	choose := func(by string) selection {
		t.Helper()
		before := time.Now()
		status, reply := p.call(http.MethodPost, point+"/select", `{"by": "`+by+`"}`)
		made := decode[selection](t, reply)
		if status != http.StatusOK || made.By != by || len(made.Token) < 20 || made.Until.Before(before.Add(59*time.Second)) {
			t.Fatalf("%d %s", status, reply.Data)
		}
		return made
	}
	conflict := func(method, path, body, message string) {
		t.Helper()
		p.Refused(method, path, body, http.StatusConflict, ems.CodeConflict, message)
	}
	conflict(http.MethodPost, point, `{"value": 1}`, "comsrv:1:C:1 must be selected first: POST …/select, and name its token as selection")
	conflict(http.MethodPost, point, `{"value": 1, "selection": "x"}`, "comsrv:1:C:1 is not selected, or not any more: select it again")
	ann := choose("Ann")
	conflict(http.MethodPost, point+"/select", `{"by": "Bob"}`, "comsrv:1:C:1 is selected by Ann until ")
	conflict(http.MethodPost, point, `{"value": 1, "selection": "x"}`, "comsrv:1:C:1 is selected by Ann, with another token")
	conflict(http.MethodDelete, point+"/select/x", "", "comsrv:1:C:1 is selected by Ann, with another token")
	if status, reply := p.call(http.MethodDelete, point+"/select/"+ann.Token, ""); status != http.StatusOK {
		t.Fatalf("%d %+v", status, reply.Error)
	}
	conflict(http.MethodPost, point, `{"value": 1, "selection": "`+ann.Token+`"}`, "is not selected, or not any more")
	bob := choose("Bob")
	status, reply := p.call(http.MethodPost, point, `{"value": 1, "by": "Bob", "selection": "`+bob.Token+`"}`)
	if result := decode[ems.CommandResult](t, reply); status != http.StatusOK || result.State != ems.CommandDone {
		t.Fatalf("%d %+v", status, reply.Error)
	}
	conflict(http.MethodPost, point, `{"value": 0, "selection": "`+bob.Token+`"}`, "is not selected, or not any more")

	// Rules, models and whoever writes to the stream cannot select.
	around := command("around", ems.Control, 1, 0)
	p.send(around)
	p.wantEnd(around, ems.CommandFailed, nil, "comsrv:1:C:1 must be selected first, over HTTP: POST …/select")
	lost := choose("Cid")
	p.stop()
	p.start()
	p.awaitStatus(1, true, "")
	conflict(http.MethodPost, point, `{"value": 0, "selection": "`+lost.Token+`"}`, "is not selected, or not any more")
	conflict(http.MethodPost, "/api/channels/1/points/C/2/select", `{"by": "Ann"}`, "remote need not be selected: its select_timeout is empty")
	conflict(http.MethodPost, "/api/channels/1/points/C/2", `{"value": 0, "selection": "x"}`, "comsrv:1:C:2 is not selected, or not any more")
	p.Refused(http.MethodPost, point+"/select", `{}`, http.StatusBadRequest, ems.CodeInvalid, "the body does not say who selects")
	if diff := cmp.Diff([]string{"5@0=65280"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

func TestSelectionsEnd(t *testing.T) {
	t.Parallel()
	s, point, now := newSelections(), ems.PointRef{Channel: 1, Type: ems.Control, Point: 1}, time.Unix(1000, 0)
	ann, err := s.add(point, "Ann", now, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.add(point, "Bob", now.Add(30*time.Second), time.Second); ems.CodeOf(err) != ems.CodeConflict {
		t.Error("two selected one point:", err)
	}
	if err := s.use(point, ann.Token, "c", now.Add(30*time.Second+1)); ems.CodeOf(err) != ems.CodeConflict {
		t.Error("a selection outlived its time:", err)
	}
	bob, err := s.add(point, "Bob", now.Add(31*time.Second), time.Second)
	if err != nil || s.use(point, ann.Token, "c", now.Add(31*time.Second)) == nil {
		t.Error("the token of Ann is good for the selection of Bob:", err)
	}
	asked := ems.Command{ID: "c", Target: point}
	if s.permit(asked) == nil || s.use(point, bob.Token, "c", now.Add(32*time.Second)) != nil || s.permit(asked) != nil {
		t.Error("the command that named the selection is not the one that is permitted")
	}
	if s.forget(asked); s.permit(asked) == nil {
		t.Error("a command is permitted for ever")
	}
}
