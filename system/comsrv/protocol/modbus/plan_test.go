package modbus

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// describe writes a plan as unit/function:start+size of each read.
func describe(units []*unit) []string {
	var reads []string
	for _, unit := range units {
		for _, block := range unit.blocks {
			reads = append(reads, fmt.Sprintf("%d/%d:%d+%d", unit.id, block.function, block.start, block.end-block.start))
		}
	}
	return reads
}

func TestPlanJoinsNeighbours(t *testing.T) {
	coil := func(unit, function uint8, address uint16) config.Mapping {
		return config.Mapping{Unit: unit, Function: function, Address: address, DataType: config.Bool, Bit: -1}
	}
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, register(1, 3, 100, config.Uint16)),
		point(ems.Telemetry, 2, register(1, 3, 101, config.Float32)),
		point(ems.Telemetry, 3, register(1, 3, 111, config.Uint16)), // after a gap of 8
		point(ems.Telemetry, 4, register(1, 3, 121, config.Uint16)), // after a gap of 9
		point(ems.Telemetry, 5, register(1, 4, 122, config.Uint16)), // another function
		point(ems.Telemetry, 6, register(2, 3, 102, config.Uint16)), // another unit
		point(ems.Adjustment, 1, register(1, 6, 103, config.Uint16)),
		point(ems.Adjustment, 2, register(1, 16, 122, config.Float64)),
		point(ems.Signal, 1, coil(1, 2, 0)),
		point(ems.Signal, 2, coil(1, 2, 65)),  // after a gap of 64
		point(ems.Signal, 3, coil(1, 2, 131)), // after a gap of 65
		point(ems.Control, 1, coil(1, 5, 7)),
		point(ems.Control, 2, coil(1, 15, 8)),
		point(ems.Telemetry, 7, register(1, 4, 65532, config.Float64)), // the last registers there are
	}
	units, readings := plan(points, ems.DefaultGroup)
	want := []string{
		"1/1:7+2", "1/2:0+66", "1/2:131+1", "1/3:100+12", "1/3:121+5", "1/4:122+1", "1/4:65532+4", "2/3:102+1",
	}
	if diff := cmp.Diff(want, describe(units)); diff != "" {
		t.Error(diff)
	}
	if len(readings) != len(points) {
		t.Errorf("%d readings for %d points", len(readings), len(points))
	}
	if units, readings := plan(points, "other"); len(units) != 0 || len(readings) != 0 {
		t.Errorf("a group without points reads %v", describe(units))
	}
}

func TestPlanKeepsTheBounds(t *testing.T) {
	var points []config.MappedPoint
	for i := range 63 {
		points = append(points, point(ems.Telemetry, ems.PointID(i+1), register(1, 3, uint16(2*i), config.Float32)))
	}
	if diff := cmp.Diff([]string{"1/3:0+124", "1/3:124+2"}, describe(first(plan(points, ems.DefaultGroup)))); diff != "" {
		t.Error("a value of two registers is never torn:", diff)
	}
	points = nil
	for i := range 2001 {
		points = append(points, point(ems.Signal, ems.PointID(i+1), config.Mapping{Unit: 1, Function: 1, Address: uint16(i), DataType: config.Bool, Bit: -1}))
	}
	if diff := cmp.Diff([]string{"1/1:0+2000", "1/1:2000+1"}, describe(first(plan(points, ems.DefaultGroup)))); diff != "" {
		t.Error(diff)
	}
}

func first(units []*unit, _ []int) []*unit { return units }

// drawPoints draws a table of points that may overlap.
func drawPoints(t *rapid.T) []config.MappedPoint {
	width := rapid.SampledFrom([]int{40, 400, 60000}).Draw(t, "width")
	base := rapid.IntRange(0, 65536-width-4).Draw(t, "base")
	count := rapid.IntRange(0, 60).Draw(t, "count")
	points := make([]config.MappedPoint, count)
	for i := range points {
		function := rapid.SampledFrom([]uint8{1, 2, 3, 4, 5, 6, 15, 16}).Draw(t, "function")
		mapping := config.Mapping{
			Unit: uint8(rapid.IntRange(1, 3).Draw(t, "unit")), Function: function, DataType: config.Bool, Bit: -1, ByteOrder: "AB",
			Address: uint16(base + rapid.IntRange(0, width).Draw(t, "address")),
		}
		if !isBits(readFunction(function)) {
			mapping.DataType = rapid.SampledFrom(numericTypes).Draw(t, "type")
			if function == 6 {
				mapping.DataType = config.Uint16
			}
			mapping.ByteOrder = rapid.SampledFrom(allOrders[mapping.DataType.Registers()]).Draw(t, "order")
		}
		points[i] = point(ems.Telemetry, ems.PointID(i+1), mapping)
		points[i].Group = rapid.SampledFrom([]string{ems.DefaultGroup, "slow"}).Draw(t, "group")
	}
	return points
}

// TestPlanCoversEveryPointOnce holds the plan against its definition: each point
// of the group lies whole in exactly one read, no read is longer than allowed,
// begins or ends with what nobody asked for, or bridges too wide a gap.
func TestPlanCoversEveryPointOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		points := drawPoints(t)
		units, readings := plan(points, "slow")
		for i, index := range readings {
			if points[index].Group != "slow" {
				t.Fatalf("reading %d is of group %s", i, points[index].Group)
			}
		}
		seen := make([]int, len(readings))
		for _, unit := range units {
			for _, block := range unit.blocks {
				checkBlock(t, points, readings, unit.id, block, seen)
			}
		}
		for i, times := range seen {
			if times != 1 {
				t.Fatalf("point %d is read %d times", readings[i], times)
			}
		}
		count := 0
		for i := range points {
			if points[i].Group == "slow" {
				count++
			}
		}
		if count != len(readings) {
			t.Fatalf("%d readings for %d points", len(readings), count)
		}
	})
}

func checkBlock(t *rapid.T, points []config.MappedPoint, readings []int, unit uint8, block *block, seen []int) {
	most, gap := 125, 8
	if block.function <= 2 {
		most, gap = 2000, 64
	}
	if size := block.end - block.start; size < 1 || size > most || block.end > 65536 {
		t.Fatalf("a read of %d from %d", size, block.start)
	}
	wanted := make([]bool, block.end-block.start)
	for _, item := range block.items {
		mapping := points[readings[item.reading]].Mapping
		if mapping.Unit != unit || readFunction(mapping.Function) != block.function {
			t.Fatalf("unit %d function %d in a read of unit %d function %d", mapping.Unit, mapping.Function, unit, block.function)
		}
		size := 1
		if block.function > 2 {
			size = mapping.DataType.Registers()
		}
		for i := range size {
			wanted[int(mapping.Address)+i-block.start] = true
		}
		seen[item.reading]++
	}
	run := 0
	for i, asked := range wanted {
		run++
		if asked {
			run = 0
		}
		if run > gap || (!asked && (i == 0 || i == len(wanted)-1)) {
			t.Fatalf("the read %d+%d carries too much that nobody asked for: %v", block.start, len(wanted), wanted)
		}
	}
}

// TestSplitEndsWithSinglePlaces: splitting on and on loses nothing and ends where
// every block has a single place.
func TestSplitEndsWithSinglePlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		units, readings := plan(drawPoints(t), ems.DefaultGroup)
		seen := make([]int, len(readings))
		var open []*block
		for _, unit := range units {
			open = append(open, unit.blocks...)
		}
		for len(open) > 0 {
			block := open[0]
			open = open[1:]
			parts := block.split()
			if parts == nil {
				for _, item := range block.items {
					if item.start() != block.start || item.end() != block.end {
						t.Fatalf("a block of several places is not split: %d+%d", block.start, block.end-block.start)
					}
					seen[item.reading]++
				}
				continue
			}
			if len(parts) != 2 || len(parts[0].items)+len(parts[1].items) != len(block.items) || len(parts[0].items) == 0 || len(parts[1].items) == 0 {
				t.Fatalf("%d items are split badly", len(block.items))
			}
			for _, part := range parts {
				for _, item := range part.items {
					if item.start() < part.start || item.end() > part.end || part.start < block.start || part.end > block.end {
						t.Fatalf("%d+%d is outside of %d to %d", item.start(), item.size, part.start, part.end)
					}
				}
			}
			open = append(open, parts...)
		}
		for i, times := range seen {
			if times != 1 {
				t.Fatalf("reading %d is there %d times", i, times)
			}
		}
	})
}

func TestSplitPrefersTheWidestGap(t *testing.T) {
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, register(1, 3, 10, config.Uint16)),
		point(ems.Telemetry, 2, register(1, 3, 16, config.Uint16)), // gap of 5
		point(ems.Telemetry, 3, register(1, 3, 19, config.Uint16)), // gap of 2
		point(ems.Telemetry, 4, register(1, 3, 20, config.Uint16)),
	}
	units, _ := plan(points, ems.DefaultGroup)
	units[0].blocks = units[0].blocks[0].split()
	if diff := cmp.Diff([]string{"1/3:10+1", "1/3:16+5"}, describe(units)); diff != "" {
		t.Error(diff)
	}
}

func TestRestDoublesAndEnds(t *testing.T) {
	var r rest
	var skipped []int
	for range 8 {
		r.fail("silent")
		count := 0
		for r.skip() {
			count++
		}
		skipped = append(skipped, count)
	}
	if diff := cmp.Diff([]int{1, 2, 4, 8, 16, 32, 32, 32}, skipped); diff != "" {
		t.Error(diff)
	}
	r.succeed()
	if r.skip() {
		t.Error("what answered is left out")
	}
}
