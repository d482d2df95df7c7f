package rtdb_test

import (
	"context"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func TestIngestStoresValueTimeAndQualityTogether(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{
		{Point: 1, Number: 23.456789}, {Point: 2, Number: -1, Quality: ems.Uncertain}, {Point: 3, Quality: ems.Bad},
	}}
	if err := b.Ingest(b.ctx, batch); err != nil {
		t.Fatal(err)
	}
	expect(t, "keys", b.dump(t), map[string]string{
		"comsrv:1001:T":      "1=23.456789 2=-1.000000",
		"comsrv:1001:T:ts":   "1=1782000000000 2=1782000000000",
		"comsrv:1001:T:q":    "2=uncertain 3=bad",
		"comsrv:1001:status": "group:default=1782000000000",
	})
	// A point that turns bad keeps its last value and time; one that recovers
	// loses its mark.
	batch.Time = start.Add(time.Second)
	batch.Group = "slow"
	batch.Samples = []rtdb.Sample{{Point: 1, Quality: ems.Bad}, {Point: 2, Number: 4}}
	if err := b.Ingest(b.ctx, batch); err != nil {
		t.Fatal(err)
	}
	expect(t, "keys", b.dump(t), map[string]string{
		"comsrv:1001:T":      "1=23.456789 2=4.000000",
		"comsrv:1001:T:ts":   "1=1782000000000 2=1782000001000",
		"comsrv:1001:T:q":    "1=bad 3=bad",
		"comsrv:1001:T:g":    "1=slow 2=slow",
		"comsrv:1001:status": "group:default=1782000000000 group:slow=1782000001000",
	})
}

func TestIngestTellsTheScreensOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	subscription := b.raw.Subscribe(ctx, "comsrv:updates:1001")
	defer subscription.Close()
	if _, err := subscription.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	batch := rtdb.Batch{Channel: 1001, Type: ems.Signal, Group: "default", Time: start, Samples: []rtdb.Sample{
		{Point: 1, Number: 1}, {Point: 2, Quality: ems.Bad}, {Point: 9, Number: 0, Quality: ems.Uncertain},
	}}
	if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Signal, Group: "default", Time: start}, batch); err != nil {
		t.Fatal(err)
	}
	message, err := subscription.ReceiveMessage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the one message", message.Payload,
		`{"channel":1001,"type":"S","time":1782000000000,"values":["1","1.000000","9","0.000000"],"quality":{"2":"bad","9":"uncertain"}}`)
}

func TestLongBatchesTravelInParts(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	samples := make([]rtdb.Sample, 1001)
	points := make([]ems.PointID, len(samples))
	for i := range samples {
		points[i] = ems.PointID(i + 1)
		samples[i] = rtdb.Sample{Point: points[i], Number: float64(i) / 8}
	}
	if err := b.Ingest(b.ctx, rtdb.Batch{Channel: 5, Type: ems.Telemetry, Group: "default", Time: start, Samples: samples}); err != nil {
		t.Fatal(err)
	}
	values, err := b.ReadPoints(b.ctx, 5, ems.Telemetry, points)
	if err != nil {
		t.Fatal(err)
	}
	for i, value := range values {
		if value != (ems.Value{Number: float64(i) / 8, Time: start, Quality: ems.Good}) {
			t.Fatalf("point %d is %+v", points[i], value)
		}
	}
}

func TestNumbersThatAreNotFiniteNeverReachRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, number := range []float64{math.NaN(), math.Inf(1)} {
		err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1, Type: ems.Telemetry, Time: start, Samples: []rtdb.Sample{{Point: 1, Number: number}}})
		if ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%v: %v", number, err)
		}
	}
	expect(t, "keys", b.dump(t), map[string]string{})
}

func TestAValueIsFreshWhileItsGroupIs(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	status := rtdb.ChannelStatus{Online: true, Errors: 3, RoundTrip: 1500 * time.Microsecond, StaleAfter: 2 * time.Second}
	if err := b.SetStatus(b.ctx, 1001, status); err != nil {
		t.Fatal(err)
	}
	poll := func(samples ...rtdb.Sample) {
		t.Helper()
		err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: b.clock.Now(), Samples: samples})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func() ems.Value {
		t.Helper()
		values, err := b.ReadPoints(b.ctx, 1001, ems.Telemetry, []ems.PointID{1})
		if err != nil {
			t.Fatal(err)
		}
		return values[0]
	}
	expect(t, "never read", read(), ems.Value{Quality: ems.Bad})
	poll(rtdb.Sample{Point: 1, Number: 7})
	b.clock.Advance(2 * time.Second)
	expect(t, "at the limit", read(), ems.Value{Number: 7, Time: start, Quality: ems.Good})
	b.clock.Advance(time.Millisecond)
	expect(t, "past the limit", read(), ems.Value{Number: 7, Time: start, Quality: ems.Stale})
	poll() // nothing changed, and the group succeeded
	expect(t, "unchanged and fresh", read(), ems.Value{Number: 7, Time: start, Quality: ems.Good})
	if err := b.Mark(b.ctx, 1001, ems.Bad); err != nil {
		t.Fatal(err)
	}
	expect(t, "marked", read(), ems.Value{Number: 7, Time: start, Quality: ems.Bad})
	poll(rtdb.Sample{Point: 1, Number: 7})
	expect(t, "refreshed", read(), ems.Value{Number: 7, Time: b.clock.Now(), Quality: ems.Good})

	got, err := b.Status(b.ctx, 1001)
	status.LastSuccess = b.clock.Now()
	status.Groups = map[string]rtdb.GroupStatus{"default": {StaleAfter: 2 * time.Second, LastSuccess: status.LastSuccess}}
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "status", got, status)
	if _, err := b.Status(b.ctx, 7); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("status of a channel that never was: %v", err)
	}
}

// TestEachPollGroupIsFreshForItsOwnTime, and a group that named none is for as
// long as its channel says.
func TestEachPollGroupIsFreshForItsOwnTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	status := rtdb.ChannelStatus{Online: true, StaleAfter: 3 * time.Second, Groups: map[string]rtdb.GroupStatus{
		"fast": {StaleAfter: 300 * time.Millisecond}, "slow": {StaleAfter: 2 * time.Minute},
	}}
	if err := b.SetStatus(b.ctx, 1001, status); err != nil {
		t.Fatal(err)
	}
	groups := []string{"default", "fast", "slow", "other"}
	var points []ems.PointID
	for i, group := range groups {
		points = append(points, ems.PointID(i+1))
		err := b.Ingest(b.ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: group, Time: start, Samples: []rtdb.Sample{{Point: ems.PointID(i + 1), Number: 1}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []struct {
		after time.Duration
		stale []string
	}{
		{300 * time.Millisecond, nil},
		{301 * time.Millisecond, []string{"fast"}},
		{3 * time.Second, []string{"fast"}},
		{3001 * time.Millisecond, []string{"default", "fast", "other"}},
		{2 * time.Minute, []string{"default", "fast", "other"}},
		{2*time.Minute + time.Millisecond, []string{"default", "fast", "slow", "other"}},
	} {
		b.clock.Advance(start.Add(at.after).Sub(b.clock.Now()))
		values, err := b.ReadPoints(b.ctx, 1001, ems.Telemetry, points)
		if err != nil {
			t.Fatal(err)
		}
		var stale []string
		for i, value := range values {
			if value.Quality == ems.Stale {
				stale = append(stale, groups[i])
			} else if value != (ems.Value{Number: 1, Time: start}) {
				t.Errorf("after %v %s is %+v", at.after, groups[i], value)
			}
		}
		expect(t, "stale after "+at.after.String(), stale, at.stale)
	}
	got, err := b.Status(b.ctx, 1001)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "the groups", got.Groups, map[string]rtdb.GroupStatus{
		"default": {StaleAfter: 3 * time.Second, LastSuccess: start}, "fast": {StaleAfter: 300 * time.Millisecond, LastSuccess: start},
		"slow": {StaleAfter: 2 * time.Minute, LastSuccess: start}, "other": {StaleAfter: 3 * time.Second, LastSuccess: start},
	})
}

func TestAPointMayChangeItsPollGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 5}, {Point: 2, Number: 6}}}
	for _, group := range []string{"fast", "default"} {
		batch.Group = group
		if err := b.Ingest(b.ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.raw.Exists(b.ctx, "comsrv:1001:T:g").Val(); left != 0 {
		t.Errorf("points of the default group are still noted: %s", b.show(t, "comsrv:1001:T:g"))
	}
}

// Random polls against a plain map: whatever happens, what is read is what a
// person would expect from the history of polls.
func TestPointsFollowAPlainModel(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		channel := ems.ChannelID(run)
		expected := map[ems.PointID]ems.Value{}
		quality := rapid.SampledFrom([]ems.Quality{ems.Good, ems.Good, ems.Uncertain, ems.Bad})
		for range rapid.IntRange(1, 15).Draw(t, "polls") {
			b.clock.Advance(time.Second)
			batch := rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: b.clock.Now()}
			for _, point := range rapid.SliceOfDistinct(rapid.Uint32Range(1, 8), func(p uint32) uint32 { return p }).Draw(t, "points") {
				sample := rtdb.Sample{Point: ems.PointID(point), Number: float64(rapid.IntRange(-1000, 1000).Draw(t, "number")) / 4, Quality: quality.Draw(t, "quality")}
				batch.Samples = append(batch.Samples, sample)
				value := expected[sample.Point]
				if sample.Quality != ems.Bad {
					value = ems.Value{Number: sample.Number, Time: batch.Time}
				}
				value.Quality = sample.Quality
				expected[sample.Point] = value
			}
			if err := b.Ingest(b.ctx, batch); err != nil {
				t.Fatal(err)
			}
			points := []ems.PointID{1, 2, 3, 4, 5, 6, 7, 8}
			values, err := b.ReadPoints(b.ctx, channel, ems.Telemetry, points)
			if err != nil {
				t.Fatal(err)
			}
			for i, point := range points {
				want, known := expected[point]
				if !known {
					want.Quality = ems.Bad
				}
				if values[i] != want {
					t.Fatalf("point %d is %+v, want %+v", point, values[i], want)
				}
			}
		}
	})
}
