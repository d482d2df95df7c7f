package comsrv

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// TestAuditOverHTTP: who asked for what, when, and how it ended, by pages and
// filters over two channels.
func TestAuditOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := held(d.address)
	other := without(2)
	p := newPlant(t, entry, other)
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(2, true, "")
	began := time.Now().Truncate(time.Millisecond)
	for _, write := range []string{
		`1/points/A/1 {"value": 10, "by": "Ann"}`, `2/points/A/1 {"value": 7}`,
		`1/points/A/2 {"value": 50, "by": "Ann", "hold_ms": 3600000}`, `1/points/A/1 {"value": 40000, "by": "Bob"}`, `2/points/C/1 {"value": 1}`,
	} {
		var path, body string
		if _, err := fmt.Sscanf(write, "%s %s", &path, &body); err != nil {
			t.Fatal(err)
		}
		p.call(http.MethodPost, "/api/channels/"+path, write[len(path)+1:])
	}
	ask := func(query string) recordPage {
		t.Helper()
		status, reply := p.call(http.MethodGet, "/api/commands?"+query, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %+v", query, status, reply.Error)
		}
		return decode[recordPage](t, reply)
	}
	brief := func(page recordPage) (lines []string) {
		for _, one := range page.Commands {
			lines = append(lines, fmt.Sprintf("%s=%v %s %s", one.Target, one.Value, one.Origin, one.State))
		}
		return lines
	}
	all := []string{
		"comsrv:2:C:1=1 api done", "comsrv:1:A:1=40000 api:Bob failed", "comsrv:1:A:2=50 api:Ann done", "comsrv:2:A:1=7 api done", "comsrv:1:A:1=10 api:Ann done",
	}
	for query, want := range map[string][]string{
		"":                                all,
		"channel=1":                       {all[1], all[2], all[4]},
		"channel=1&point=A:1":             {all[1], all[4]},
		"state=failed":                    {all[1]},
		"origin=api:Ann":                  {all[2], all[4]},
		"channel=1&state=done&point=A:2":  {all[2]},
		"channel=2&state=unknown&limit=1": nil,
	} {
		if page := ask(query); cmp.Diff(want, brief(page)) != "" || page.Next != "" || page.Forgotten != 0 {
			t.Errorf("%q: %+v", query, page)
		}
	}
	for limit := 1; limit <= 5; limit++ {
		var lines []string
		for after, pages := "", 0; pages < 10; pages++ {
			page := ask(fmt.Sprintf("limit=%d&after=%s", limit, after))
			lines = append(lines, brief(page)...)
			if after = page.Next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(all, lines); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	last := ask("origin=api:Ann&limit=1").Commands[0]
	if last.HoldMS != 3600000 || *last.ReadBack != 50 || last.Issued.Before(began) || last.Begun.Before(last.Issued) || last.Time.Before(*last.Begun) || last.ID == "" {
		t.Errorf("%+v", last)
	}
	for query, message := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "point=A:1": "name its channel", "channel=9": "no channel 9", "state=queued": "commands end as",
		"after=7": "is not the next of a page", "after=1-2-x": "is not the next", "channel=1&point=A": "write for example A:3",
	} {
		status, code := http.StatusBadRequest, ems.CodeInvalid
		if query == "channel=9" {
			status, code = http.StatusNotFound, ems.CodeNotFound
		}
		p.Refused(http.MethodGet, "/api/commands?"+query, "", status, code, message)
	}
	if err := p.Raw.XTrimMaxLen(t.Context(), "comsrv:1:commands:results", 1).Err(); err != nil {
		t.Fatal(err)
	}
	if page := ask(""); page.Forgotten != 2 || len(page.Commands) != 3 {
		t.Errorf("%+v", page)
	}
}

// TestAuditOfManyChannels: entries with the same id in several channels come once
// each, whatever the size of a page.
func TestAuditOfManyChannels(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	ids := []ems.ChannelID{}
	for channel := range 7 {
		ids = append(ids, ems.ChannelID(channel+1))
		for entry := range 5 {
			err := p.Raw.Do(t.Context(), "XADD", fmt.Sprintf("comsrv:%d:commands:results", channel+1), fmt.Sprintf("%d-1", 1000+entry), "id", fmt.Sprintf("c%d", entry),
				"type", "A", "point", "1", "value", "1.000000", "state", "done", "time", "5000").Err()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var want []string
	for entry := 4; entry >= 0; entry-- {
		for channel := 1; channel <= 7; channel++ {
			want = append(want, fmt.Sprintf("%d c%d", channel, entry))
		}
	}
	for _, limit := range []int{1, 3, 34, 35, 36} {
		var got []string
		for after, pages := "", 0; pages < 40; pages++ {
			records, next, err := p.DB.CommandRecords(t.Context(), rtdb.CommandFilter{Channels: ids}, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, record := range records {
				got = append(got, fmt.Sprintf("%d %s", record.Target.Channel, record.ID))
			}
			if after = next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
}
