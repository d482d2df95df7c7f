package alarmsrv_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// Fifty people acknowledge a thousand alarms over the API at once, each in an
// order of their own: ten of them want each alarm.
func TestEachAlarmIsAcknowledgedExactlyOnce(t *testing.T) {
	t.Parallel()
	const alarms, people, each = 1000, 50, 10
	f := start(t, ample)
	f.fill("p", alarms)
	transport := &http.Transport{MaxIdleConnsPerHost: people}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var won [people]atomic.Int64
	var conflicts atomic.Int64
	winners := make([]string, alarms+1) // by alarm; each is written once, or the race detector tells
	var workers sync.WaitGroup
	for person := range people {
		workers.Go(func() {
			name := fmt.Sprintf("person-%02d", person)
			for _, index := range rand.Perm(alarms) {
				if (index+person)%(people/each) != 0 {
					continue
				}
				body := fmt.Sprintf(`{"by":%q,"occurrence":1}`, name)
				response, err := client.Post(fmt.Sprintf("%s/api/alarms/%d/acknowledge", f.URL, index+1), "application/json", bytes.NewBufferString(body))
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				switch {
				case err == nil && response.StatusCode == http.StatusOK:
					var envelope struct{ Data ems.Alarm }
					if err := json.Unmarshal(text, &envelope); err != nil || envelope.Data.AckedBy != name {
						t.Errorf("%s: %s, %v", name, text, err)
					}
					winners[index+1] = name
					won[person].Add(1)
				case err == nil && response.StatusCode == http.StatusConflict:
					conflicts.Add(1)
				default:
					t.Errorf("%d %s, %v", response.StatusCode, text, err)
				}
			}
		})
	}
	workers.Wait()
	total := int64(0)
	for person := range people {
		total += won[person].Load()
	}
	servicetest.Same(t, []int64{total, conflicts.Load()}, []int64{alarms, alarms * (each - 1)})

	journalled := make([]string, alarms+1)
	entries, err := f.DB.JournalAfter(t.Context(), "", 10*alarms)
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Same(t, len(entries), 2*alarms)
	for _, entry := range entries[alarms:] {
		var number int
		if _, err := fmt.Sscan(entry.Alarm, &number); err != nil || entry.Event != ems.AlarmAcknowledged || journalled[number] != "" {
			t.Fatalf("%+v, %v", entry, err)
		}
		journalled[number] = entry.By
	}
	servicetest.Same(t, journalled, winners)
	stored, err := f.DB.Alarms(t.Context(), rtdb.AlarmFilter{State: string(ems.ActiveAcknowledged), Count: alarms})
	if err != nil || len(stored) != alarms {
		t.Fatalf("%d alarms, %v", len(stored), err)
	}
	for i, alarm := range stored {
		servicetest.Same(t, alarm.AckedBy, winners[alarms-i])
	}
	counts, err := f.DB.AlarmCounts(t.Context(), time.Time{})
	if err != nil || counts.State(ems.ActiveAcknowledged) != alarms || counts.State(ems.ActiveUnacknowledged) != 0 {
		t.Errorf("counts: %+v, %v", counts, err)
	}
}
