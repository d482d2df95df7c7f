package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Sizes of the devices that are polled, in points.
const (
	largeDevice = 1000
	smallDevice = 100
)

// device is a channel as comsrv polls it: the registers, and for each point what
// Redis was told of it. There is one for each connection, so that nobody waits
// for another.
type device struct {
	channel ems.ChannelID
	raw     []float64
	points  []ems.Point
	told    []rtdb.Told
	samples []rtdb.Sample // of the last poll
	last    string        // the case that polled it last
}

func newDevice(channel ems.ChannelID, size int) *device {
	d := &device{
		channel: channel, raw: make([]float64, size), points: make([]ems.Point, size),
		told: make([]rtdb.Told, size),
	}
	for i := range d.points {
		d.raw[i] = float64(i * 37 % registers)
		// An eighth is a fraction that binary numbers and six decimals both hold.
		d.points[i] = ems.Point{ID: ems.PointID(i + 1), Type: ems.Telemetry, Scale: 0.125, Group: group}
	}
	return d
}

// registers is how many values one has.
const registers = 1 << 16

// change gives some registers other values: count from first on, wrapping round
// at the end.
func (d *device) change(first, count int) {
	for i := range count {
		at := (first + i) % len(d.raw)
		d.raw[at] = float64((int(d.raw[at]) + 1021) % registers)
	}
}

// poll makes values of all registers, compares each with what Redis was told of
// it, and tells what has changed.
func (d *device) poll(ctx context.Context, db *rtdb.Client, at time.Time) error {
	d.samples = d.samples[:0]
	for i := range d.points {
		point := &d.points[i]
		number := point.FromRaw(d.raw[i])
		if d.told[i].Changed(number, ems.Good, point.Deadband) {
			d.samples = append(d.samples, rtdb.Sample{Point: point.ID, Number: number})
		}
	}
	err := db.Ingest(ctx, rtdb.Batch{Channel: d.channel, Type: ems.Telemetry, Group: group, Time: at, Samples: d.samples})
	if err != nil {
		return err
	}
	for _, sample := range d.samples {
		d.told[sample.Point-1].Note(sample.Number, sample.Quality)
	}
	return nil
}

// deviceChannel returns the channel of a device, apart from that of the rules
// and the model.
func deviceChannel(size, lane int) ems.ChannelID { return ems.ChannelID(10*size + lane) }

// seedDevices prepares the channels, and tells everything once.
func (s *server) seedDevices(ctx context.Context, clock ems.Clock) error {
	for _, size := range []int{largeDevice, smallDevice} {
		for lane := range connections {
			made := newDevice(deviceChannel(size, lane), size)
			if err := s.db.ConfigureMapping(ctx, historyOf(made.channel, size)); err != nil {
				return err
			}
			if err := s.db.SetStatus(ctx, made.channel, rtdb.ChannelStatus{Online: true, StaleAfter: freshFor}); err != nil {
				return err
			}
			if err := made.poll(ctx, s.db, clock.Now()); err != nil {
				return err
			}
			s.devices = append(s.devices, made)
		}
	}
	return nil
}

func (s *server) device(size, lane int) *device {
	for _, one := range s.devices {
		if one.channel == deviceChannel(size, lane) {
			return one
		}
	}
	return nil
}

// poll polls devices of a size, each over a connection of its own. Before each
// poll so many registers change, the following ones with each.
func (s *server) poll(name string, clock ems.Clock, size, changed int) workload {
	calls := (changed + rtdb.MaxBatch - 1) / rtdb.MaxBatch
	again := func(ctx context.Context, lane, n int) error {
		one := s.device(size, lane)
		one.last = name
		one.change(n*changed, changed)
		return one.poll(ctx, s.db, clock.Now())
	}
	return workload{
		name: name, commands: functions, perCall: calls, points: size, lanes: connections,
		settle: s.trimHistory, call: again,
		verify: func(ctx context.Context, lane, n int) error {
			one := s.device(size, lane)
			if one.last != name { // its connection never came to its turn
				return nil
			}
			if len(one.samples) != changed {
				return ems.Errorf(ems.CodeInternal, "a poll told %d points where %d had changed", len(one.samples), changed)
			}
			if err := s.verifyDevice(ctx, one); err != nil {
				return err
			}
			return s.verifyHistory(ctx, int64(calls), func() error { return again(ctx, lane, n) })
		},
	}
}

// verifyDevice reads every point back.
func (s *server) verifyDevice(ctx context.Context, one *device) error {
	ids := make([]ems.PointID, len(one.points))
	for i, point := range one.points {
		ids[i] = point.ID
	}
	stored, err := s.db.ReadPoints(ctx, one.channel, ems.Telemetry, ids)
	if err != nil {
		return err
	}
	for i, value := range stored {
		if want := one.points[i].FromRaw(one.raw[i]); value.Quality != ems.Good || value.Number != want {
			return ems.Errorf(ems.CodeInternal, "point %d of channel %d holds %v (%s) and the device has %v", ids[i], one.channel, value.Number, value.Quality, want)
		}
	}
	return nil
}

// historyOf returns the mapping that hands the first points of a channel to
// history.
func historyOf(channel ems.ChannelID, count int) ems.HistoryMapping {
	mapping := ems.HistoryMapping{
		ID: fmt.Sprintf("bench_telemetry_%d", channel), Source: fmt.Sprintf("comsrv:%d:T", channel), Measurement: "telemetry",
		Tags: map[string]string{"device": fmt.Sprintf("bench_%d", channel)}, Fields: map[ems.PointID]string{},
	}
	for point := range count {
		mapping.Fields[ems.PointID(point+1)] = fmt.Sprintf("value_%03d", point+1)
	}
	return mapping
}
