package grpc

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// group is the points of one poll group and where a poll leaves the results.
type group struct {
	places   map[uint32]int // of a point among the readings
	readings []protocol.Reading
	told     []bool // by reading: this answer has it
}

func groupsOf(points []config.MappedPoint) map[string]*group {
	groups := map[string]*group{}
	for i := range points {
		name := points[i].Group
		if groups[name] == nil {
			groups[name] = &group{places: map[uint32]int{}}
		}
		of := groups[name]
		of.places[uint32(i)] = len(of.readings)
		of.readings = append(of.readings, protocol.Reading{Point: i})
		of.told = append(of.told, false)
	}
	return groups
}

// ReadBatch implements protocol.Driver. An answer that names points which were not
// asked for cannot be trusted in anything, and fails as a whole.
func (d *Driver) ReadBatch(ctx context.Context, name string) ([]protocol.Reading, error) {
	of := d.groups[name]
	if of == nil {
		return nil, ctx.Err()
	}
	var answer *driverpb.ReadBatchResponse
	err := d.call(ctx, func(ctx context.Context) (err error) {
		answer, err = d.remote.ReadBatch(ctx, &driverpb.ReadBatchRequest{Session: d.session, Group: name})
		return err
	})
	if err == nil {
		err = of.take(answer.GetReadings())
	}
	if err != nil {
		return nil, err
	}
	return of.readings, nil
}

// take leaves an answer in the readings. A point that it does not tell of is bad.
func (g *group) take(told []*driverpb.Reading) error {
	clear(g.told)
	for _, reading := range told {
		place, known := g.places[reading.GetPoint()]
		if !known {
			return fmt.Errorf("the driver process answered for point %d, which is not in the group that it was asked for", reading.GetPoint())
		}
		if g.told[place] {
			return fmt.Errorf("the driver process answered twice for point %d", reading.GetPoint())
		}
		g.told[place] = true
		g.readings[place] = readingOf(g.readings[place].Point, reading)
	}
	for place, known := range g.told {
		if !known {
			g.readings[place] = bad(g.readings[place].Point, "the driver process did not tell of it")
		}
	}
	return nil
}

func readingOf(point int, told *driverpb.Reading) protocol.Reading {
	switch raw := told.GetRaw(); {
	case told.GetReason() != "" && !told.GetUncertain():
		return bad(point, clip(told.GetReason()))
	case math.IsNaN(raw) || math.IsInf(raw, 0):
		return bad(point, fmt.Sprintf("the driver process told %v, which is not a finite number", raw))
	case told.GetUncertain():
		reason := cmp.Or(clip(told.GetReason()), "the driver process doubts it and does not say why")
		return protocol.Reading{Point: point, Raw: raw, Quality: ems.Uncertain, Reason: reason}
	default:
		return protocol.Reading{Point: point, Raw: raw}
	}
}

func bad(point int, reason string) protocol.Reading {
	return protocol.Reading{Point: point, Quality: ems.Bad, Reason: reason}
}
