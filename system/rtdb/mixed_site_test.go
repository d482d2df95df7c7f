package rtdb_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of a site under random operations: small, so that they meet.
const (
	mixedChannels  = 3
	mixedPoints    = 6 // of each type
	mixedModels    = 4
	mixedTemplates = 3
	mixedCommands  = 200 // remembered by the plain model
)

// staleAfter is when values of a channel that told nothing turn stale.
const staleAfter = 10 * time.Second

// mixedSite is one site under random operations, and the plain model of it.
type mixedSite struct {
	db       *rtdb.Client
	clock    *ems.ManualClock
	random   *rand.Rand
	points   map[ems.PointRef]ems.Value   // as last told: good, uncertain or bad
	polled   map[ems.ChannelID]time.Time  // last success
	plain    *plainModels                 // templates and models
	commands map[string]ems.CommandResult // by channel and id
	ids      []string                     // of commands, in the order in which they were sent
	readers  map[ems.ChannelID]*rtdb.CommandReader
}

func newMixedSite(db *rtdb.Client, clock *ems.ManualClock, random *rand.Rand) *mixedSite {
	return &mixedSite{
		db: db, clock: clock, random: random, points: map[ems.PointRef]ems.Value{}, polled: map[ems.ChannelID]time.Time{},
		plain:    &plainModels{templates: map[string]ems.Template{}, models: map[string]ems.Model{}},
		commands: map[string]ems.CommandResult{}, readers: map[ems.ChannelID]*rtdb.CommandReader{},
	}
}

// step does one random operation and compares what it replies.
func (s *mixedSite) step(ctx context.Context) error {
	operations := []struct {
		weight int
		do     func(context.Context) error
	}{
		{30, s.ingest}, {20, s.readPoints}, {3, s.mark}, {10, s.pass}, {6, s.upsertTemplate}, {10, s.upsertModel}, {3, s.deleteModel},
		{2, s.deleteTemplate}, {15, s.readModel}, {10, s.lookUp}, {10, s.command}, {1, s.removeChannel}, {2, s.replaceModels}, {2, s.checkModels},
	}
	total := 0
	for _, operation := range operations {
		total += operation.weight
	}
	at := s.random.IntN(total)
	for _, operation := range operations {
		if at -= operation.weight; at < 0 {
			return operation.do(ctx)
		}
	}
	return nil
}

func (s *mixedSite) channel() ems.ChannelID { return ems.ChannelID(1 + s.random.IntN(mixedChannels)) }

func (s *mixedSite) kind() ems.PointType {
	return ems.PointTypes[s.random.IntN(len(ems.PointTypes))]
}

func (s *mixedSite) ref() ems.PointRef {
	return ems.PointRef{Channel: s.channel(), Type: s.kind(), Point: ems.PointID(1 + s.random.IntN(mixedPoints))}
}

func (s *mixedSite) ingest(ctx context.Context) error {
	batch := rtdb.Batch{Channel: s.channel(), Type: s.kind(), Group: "default", Time: s.clock.Now()}
	if s.random.IntN(5) == 0 {
		batch.Group = "" // the poll failed in part
	}
	for point := range mixedPoints {
		if s.random.IntN(2) == 0 {
			continue
		}
		sample := rtdb.Sample{Point: ems.PointID(point + 1), Number: float64(s.random.IntN(2001)-1000) / 8}
		sample.Quality = []ems.Quality{ems.Good, ems.Good, ems.Good, ems.Uncertain, ems.Bad}[s.random.IntN(5)]
		batch.Samples = append(batch.Samples, sample)
		ref := ems.PointRef{Channel: batch.Channel, Type: batch.Type, Point: sample.Point}
		value, known := s.points[ref]
		switch {
		case sample.Quality != ems.Bad:
			value = ems.Value{Number: sample.Number, Time: batch.Time, Quality: sample.Quality}
		case known:
			value.Quality = ems.Bad
		default:
			continue // bad and never read: there is nothing to remember
		}
		s.points[ref] = value
	}
	if batch.Group != "" {
		s.polled[batch.Channel] = batch.Time
	}
	return s.db.Ingest(ctx, batch)
}

// now returns what a reader sees of a point.
func (s *mixedSite) now(ref ems.PointRef) (value ems.Value, known bool) {
	value, known = s.points[ref]
	if !known {
		return ems.Value{Quality: ems.Bad}, false
	}
	seen := value.Time
	if s.polled[ref.Channel].After(seen) {
		seen = s.polled[ref.Channel]
	}
	if value.Quality == ems.Good && s.clock.Now().Sub(seen) > staleAfter {
		value.Quality = ems.Stale
	}
	return value, true
}

func (s *mixedSite) readPoints(ctx context.Context) error {
	channel, kind := s.channel(), s.kind()
	var points []ems.PointID
	for range 1 + s.random.IntN(mixedPoints) {
		points = append(points, ems.PointID(1+s.random.IntN(mixedPoints+1)))
	}
	values, err := s.db.ReadPoints(ctx, channel, kind, points)
	if err != nil {
		return err
	}
	for i, point := range points {
		ref := ems.PointRef{Channel: channel, Type: kind, Point: point}
		if want, _ := s.now(ref); values[i] != want {
			return fmt.Errorf("%s is %+v, want %+v", ref, values[i], want)
		}
	}
	return nil
}

// mark tells the quality of a whole channel.
func (s *mixedSite) mark(ctx context.Context) error {
	channel, quality := s.channel(), ems.Quality(s.random.IntN(4))
	for ref, value := range s.points {
		if ref.Channel == channel {
			value.Quality = quality
			s.points[ref] = value
		}
	}
	return s.db.Mark(ctx, channel, quality)
}

// pass lets time go by.
func (s *mixedSite) pass(context.Context) error {
	s.clock.Advance(time.Duration(s.random.IntN(4000)) * time.Millisecond)
	return nil
}

func (s *mixedSite) removeChannel(ctx context.Context) error {
	channel := s.channel()
	maps.DeleteFunc(s.points, func(ref ems.PointRef, _ ems.Value) bool { return ref.Channel == channel })
	delete(s.polled, channel)
	delete(s.readers, channel)
	prefix := strconv.Itoa(int(channel)) + "/"
	maps.DeleteFunc(s.commands, func(key string, _ ems.CommandResult) bool { return key[:len(prefix)] == prefix })
	s.ids = slices.DeleteFunc(s.ids, func(key string) bool { return key[:len(prefix)] == prefix })
	return s.db.RemoveChannel(ctx, channel)
}

// command sends one, or begins and finishes those that wait, or asks how far one
// has come.
func (s *mixedSite) command(ctx context.Context) error {
	channel := s.channel()
	switch s.random.IntN(3) {
	case 0:
		return s.send(ctx, channel)
	case 1:
		return s.execute(ctx, channel)
	}
	if len(s.ids) == 0 {
		return nil
	}
	key := s.ids[s.random.IntN(len(s.ids))]
	want := s.commands[key]
	got, err := s.db.Command(ctx, want.Target.Channel, want.ID)
	if difference := cmp.Diff(want, got); err != nil || difference != "" {
		return fmt.Errorf("command %s: %w (-want +got):\n%s", key, err, difference)
	}
	return nil
}

func (s *mixedSite) send(ctx context.Context, channel ems.ChannelID) error {
	id := "c" + strconv.Itoa(s.random.IntN(1_000_000))
	key := fmt.Sprintf("%d/%s", channel, id)
	if _, known := s.commands[key]; known || len(s.ids) >= mixedCommands {
		return nil
	}
	now := s.clock.Now()
	order := ems.Command{
		ID: id, Target: ems.PointRef{Channel: channel, Type: []ems.PointType{ems.Control, ems.Adjustment}[s.random.IntN(2)], Point: 1},
		Value: float64(s.random.IntN(100)), Issued: now, Deadline: now.Add(5 * time.Second), Origin: "soak",
	}
	s.commands[key] = ems.CommandResult{ID: id, Target: order.Target, Value: order.Value, State: ems.CommandQueued, Time: now}
	s.ids = append(s.ids, key)
	for range 1 + s.random.IntN(2) { // twice is once
		if err := s.db.SendCommand(ctx, order); err != nil {
			return err
		}
	}
	return nil
}

// execute takes what waits on a channel: each command once, and none that is
// past its deadline.
func (s *mixedSite) execute(ctx context.Context, channel ems.ChannelID) error {
	reader := s.readers[channel]
	if reader == nil {
		reader = s.db.ReadCommands("soak", []ems.ChannelID{channel})
		s.readers[channel] = reader
	}
	deliveries, err := reader.Next(ctx, time.Millisecond)
	if err != nil {
		return err
	}
	for _, delivery := range deliveries {
		key := fmt.Sprintf("%d/%s", channel, delivery.ID)
		result, known := s.commands[key]
		if !known {
			return fmt.Errorf("command %s was never sent", key)
		}
		late := s.clock.Now().After(delivery.Deadline)
		begun := s.db.BeginCommand(ctx, delivery)
		if late != (ems.CodeOf(begun) == ems.CodeExpired) || !late && begun != nil {
			return fmt.Errorf("command %s, late %v: begun %w", key, late, begun)
		}
		result.State, result.Time = ems.CommandDone, s.clock.Now()
		result.ReadBack = &result.Value
		if late {
			result.State, result.ReadBack, result.Reason = ems.CommandExpired, nil, "too late"
		}
		if err := s.db.FinishCommand(ctx, delivery, result); err != nil {
			return err
		}
		s.commands[key] = result
	}
	return nil
}

// sameJSON compares two things by what they say as JSON.
func sameJSON(want, got any) string {
	var texts [2]any
	for i, thing := range []any{want, got} {
		text, err := json.Marshal(thing)
		if err != nil {
			return err.Error()
		}
		if err := json.Unmarshal(text, &texts[i]); err != nil {
			return err.Error()
		}
	}
	return cmp.Diff(texts[0], texts[1])
}

// expected returns what reading a model yields.
func (s *mixedSite) expected(expansion ems.Expansion) (map[string]ems.ModelValue, error) {
	values := map[string]ems.ModelValue{}
	for _, field := range expansion.Data {
		value, known := s.now(field.Point)
		values[field.Name] = ems.ModelValue{Name: field.Name, Point: field.Point, Value: value, Missing: !known}
	}
	return values, computeByHand(expansion, values)
}

func (s *mixedSite) readModel(ctx context.Context) error {
	id := mixedID("m", s.random.IntN(mixedModels))
	model, known := s.plain.models[id]
	got, err := s.db.ReadModel(ctx, id)
	if !known {
		if ems.CodeOf(err) != ems.CodeNotFound {
			return fmt.Errorf("model %s, which is not there: %w", id, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	expansion, _ := ems.Expand(model, s.plain.find)
	want, err := s.expected(expansion)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("model %s has %d values, want %d", id, len(got), len(want))
	}
	for _, value := range got {
		if !sameValue(value, want[value.Name]) {
			return fmt.Errorf("model %s: %+v, want %+v", id, value, want[value.Name])
		}
	}
	return nil
}

// sameValue allows a computed number the last of its six decimals.
func sameValue(a, b ems.ModelValue) bool {
	near := math.Abs(a.Value.Number-b.Value.Number) <= 1e-6+1e-12*math.Abs(b.Value.Number)
	a.Value.Number, b.Value.Number = 0, 0
	return near && a == b
}

func mixedID(letter string, n int) string { return letter + strconv.Itoa(n+1) }
