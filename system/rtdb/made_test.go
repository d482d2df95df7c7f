package rtdb_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// TestMadeChannels are all there, however many and however long, in order.
func TestMadeChannels(t *testing.T) {
	t.Parallel()
	b := newBench(t, "{north}:")
	var want []rtdb.MadeChannel
	for id := ems.ChannelID(1); id <= 250; id++ {
		one := rtdb.MadeChannel{ID: 10 * id, Document: "id: 1\n"}
		if id <= 3 { // more than fit into one reply
			one.Document = strings.Repeat("x", 700_000)
		}
		want = append(want, one)
	}
	for i := len(want) - 1; i >= 0; i-- {
		if err := b.StoreMade(b.ctx, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.MadeChannels(b.ctx)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	for id, there := range map[ems.ChannelID]bool{10: true, 11: false, 2500: true, 2501: false, 1: false} {
		if one, found, err := b.MadeChannel(b.ctx, id); found != there || err != nil || found && one.ID != id {
			t.Errorf("%d: %v %v %v", id, one.ID, found, err)
		}
	}
	if err := b.DeleteMade(b.ctx, 20); err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteMade(b.ctx, 20); ems.CodeOf(err) != ems.CodeNotFound {
		t.Error(err)
	}
	if got, err = b.MadeChannels(b.ctx); len(got) != 249 || err != nil {
		t.Error(len(got), err)
	}
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	on, off := true, false
	for _, step := range []struct {
		id      ems.ChannelID
		started *bool
		want    map[ems.ChannelID]bool
	}{
		{7, &on, map[ems.ChannelID]bool{7: true}},
		{8, &off, map[ems.ChannelID]bool{7: true, 8: false}},
		{7, &off, map[ems.ChannelID]bool{7: false, 8: false}},
		{7, nil, map[ems.ChannelID]bool{8: false}},
	} {
		if err := b.Switch(b.ctx, step.id, step.started); err != nil {
			t.Fatal(err)
		}
		got, err := b.Switches(b.ctx)
		if diff := cmp.Diff(step.want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
}

// TestDropPoints of which there are more than one call takes, and of no other.
func TestDropPoints(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	batch := rtdb.Batch{Channel: 7, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: start}
	var dropped []ems.PointID
	for point := ems.PointID(1); point <= 501; point++ {
		batch.Samples = append(batch.Samples, rtdb.Sample{Point: point, Number: 1})
		if point > 1 {
			dropped = append(dropped, point)
		}
	}
	if err := b.Ingest(b.ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := b.DropPoints(b.ctx, 7, ems.Telemetry, dropped); err != nil {
		t.Fatal(err)
	}
	left, err := b.raw.HGetAll(b.ctx, "comsrv:7:T").Result()
	if diff := cmp.Diff(map[string]string{"1": "1.000000"}, left); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if count, err := b.CommandsWaiting(b.ctx, 7); count != 0 || err != nil {
		t.Error(count, err)
	}
	now := start
	command := ems.Command{ID: "c", Target: ems.PointRef{Channel: 7, Type: ems.Adjustment, Point: 1}, Issued: now, Deadline: now.Add(ems.DefaultCommandLifetime), Origin: "test"}
	if err := b.SendCommand(b.ctx, command); err != nil {
		t.Fatal(err)
	}
	if count, err := b.CommandsWaiting(b.ctx, 7); count != 1 || err != nil {
		t.Error(count, err)
	}
}
