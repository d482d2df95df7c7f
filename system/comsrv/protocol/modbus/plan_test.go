package modbus

import (
	"fmt"
	"testing"
	"time"

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

// defaults are the settings of a channel that says nothing.
func defaults() *config.Reads {
	settings := config.Reads{}.OrDefault()
	return &settings
}

func TestPlanJoinsNeighbours(t *testing.T) {
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, register(1, 3, 100, config.Uint16)),
		point(ems.Telemetry, 2, register(1, 3, 101, config.Float32)),
		point(ems.Telemetry, 3, register(1, 3, 111, config.Uint16)), // after a gap of 8
		point(ems.Telemetry, 4, register(1, 3, 121, config.Uint16)), // after a gap of 9
		point(ems.Telemetry, 5, register(1, 4, 122, config.Uint16)), // another function
		point(ems.Telemetry, 6, register(2, 3, 102, config.Uint16)), // another unit
		point(ems.Adjustment, 1, register(1, 6, 103, config.Uint16)),
		point(ems.Adjustment, 2, register(1, 16, 122, config.Float64)),
		point(ems.Control, 3, bitOf(1, 22, 127, 3)),
		point(ems.Signal, 1, bits(1, 2, 0)),
		point(ems.Signal, 2, bits(1, 2, 65)),  // after a gap of 64
		point(ems.Signal, 3, bits(1, 2, 131)), // after a gap of 65
		point(ems.Control, 1, bits(1, 5, 7)),
		point(ems.Control, 2, bits(1, 15, 8)),
		point(ems.Telemetry, 7, register(1, 4, 65532, config.Float64)), // the last registers there are
		point(ems.Signal, 4, bits(3, 1, 65535)),
	}
	units, readings := plan(points, ems.DefaultGroup, defaults())
	want := []string{
		"1/1:7+2", "1/2:0+66", "1/2:131+1", "1/3:100+12", "1/3:121+7", "1/4:122+1", "1/4:65532+4", "2/3:102+1", "3/1:65535+1",
	}
	if diff := cmp.Diff(want, describe(units)); diff != "" {
		t.Error(diff)
	}
	if len(readings) != len(points) {
		t.Errorf("%d readings for %d points", len(readings), len(points))
	}
	if units, readings := plan(points, "other", defaults()); len(units) != 0 || len(readings) != 0 {
		t.Errorf("a group without points reads %v", describe(units))
	}
}

// TestPlanNestsFields: fields within others and across their ends cost no read of
// their own.
func TestPlanNestsFields(t *testing.T) {
	text := register(1, 3, 100, config.String)
	text.Length = 20
	var points []config.MappedPoint
	for i, mapping := range []config.Mapping{
		register(1, 3, 110, config.Float64), text, register(1, 3, 119, config.Uint32), register(1, 3, 100, config.Uint16),
		register(1, 3, 119, config.Uint16), register(1, 3, 100, config.Uint16),
	} {
		points = append(points, point(ems.Telemetry, ems.PointID(i+1), mapping))
	}
	if diff := cmp.Diff([]string{"1/3:100+21"}, describe(first(plan(points, ems.DefaultGroup, defaults())))); diff != "" {
		t.Error(diff)
	}
}

func TestPlanKeepsTheBounds(t *testing.T) {
	var floats, coils []config.MappedPoint
	for i := range 63 {
		floats = append(floats, point(ems.Telemetry, ems.PointID(i+1), register(1, 3, uint16(2*i), config.Float32)))
	}
	for i := range 2001 {
		coils = append(coils, point(ems.Signal, ems.PointID(i+1), bits(1, 1, uint16(i))))
	}
	few := config.Reads{MaxRegisters: 41, MaxCoils: 1000, MaxGap: 8, MaxCoilGap: 64}
	for _, check := range []struct {
		points   []config.MappedPoint
		settings *config.Reads
		want     []string
	}{
		{floats, defaults(), []string{"1/3:0+124", "1/3:124+2"}}, // a value is never torn
		{floats, &few, []string{"1/3:0+40", "1/3:40+40", "1/3:80+40", "1/3:120+6"}},
		{coils, defaults(), []string{"1/1:0+2000", "1/1:2000+1"}},
		{coils, &few, []string{"1/1:0+1000", "1/1:1000+1000", "1/1:2000+1"}},
	} {
		if diff := cmp.Diff(check.want, describe(first(plan(check.points, ems.DefaultGroup, check.settings)))); diff != "" {
			t.Error(diff)
		}
	}
}

// TestPlanAvoidsForbiddenRanges: a gap is not bridged where it has an address that
// must not be read by that function of that unit.
func TestPlanAvoidsForbiddenRanges(t *testing.T) {
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, register(1, 3, 10, config.Uint16)), point(ems.Telemetry, 2, register(1, 3, 15, config.Uint16)),
		point(ems.Telemetry, 3, register(1, 4, 10, config.Uint16)), point(ems.Telemetry, 4, register(1, 4, 15, config.Uint16)),
		point(ems.Telemetry, 5, register(2, 3, 10, config.Uint16)), point(ems.Telemetry, 6, register(2, 3, 15, config.Uint16)),
	}
	for _, check := range []struct {
		forbidden config.ForbiddenRange
		want      []string
	}{
		{config.ForbiddenRange{Unit: 1, Function: 3, First: 14, Last: 14}, []string{"1/3:10+1", "1/3:15+1", "1/4:10+6", "2/3:10+6"}},
		{config.ForbiddenRange{Unit: -1, Function: 3, First: 11, Last: 11}, []string{"1/3:10+1", "1/3:15+1", "1/4:10+6", "2/3:10+1", "2/3:15+1"}},
		{config.ForbiddenRange{Unit: 2, First: 0, Last: 9}, []string{"1/3:10+6", "1/4:10+6", "2/3:10+6"}},
		{config.ForbiddenRange{Unit: 2, First: 16, Last: 99}, []string{"1/3:10+6", "1/4:10+6", "2/3:10+6"}},
	} {
		settings := defaults()
		settings.Forbidden = []config.ForbiddenRange{check.forbidden}
		if diff := cmp.Diff(check.want, describe(first(plan(points, ems.DefaultGroup, settings)))); diff != "" {
			t.Errorf("%+v: %s", check.forbidden, diff)
		}
	}
}

func first(units []*unit, _ []int) []*unit { return units }

// drawSettings draws what a channel may say of its devices around some address.
func drawSettings(t *rapid.T, base, width int) config.Reads {
	settings := config.Reads{
		MaxRegisters: rapid.IntRange(6, 125).Draw(t, "most registers"), MaxCoils: rapid.IntRange(1, 2000).Draw(t, "most coils"),
		MaxGap: rapid.IntRange(0, 20).Draw(t, "gap"), MaxCoilGap: rapid.IntRange(0, 100).Draw(t, "coil gap"),
		ProbeAfter: 4 * time.Second,
	}
	for range rapid.IntRange(0, 3).Draw(t, "forbidden ranges") {
		at := base + rapid.IntRange(0, width).Draw(t, "forbidden")
		settings.Forbidden = append(settings.Forbidden, config.ForbiddenRange{
			Unit: rapid.IntRange(-1, 2).Draw(t, "forbidden unit"), Function: rapid.IntRange(0, 4).Draw(t, "forbidden function"),
			First: uint16(at), Last: uint16(min(65535, at+rapid.IntRange(0, 5).Draw(t, "forbidden more"))),
		})
	}
	return settings
}

// readsOf returns a channel with these settings.
func readsOf(settings config.Reads) *config.Channel {
	return &config.Channel{Protocol: config.ProtocolModbusTCP, Modbus: config.Modbus{Reads: settings}}
}

// drawPoints draws the settings of a channel and a table of points that keeps to
// them. They may overlap, and lie at the end of the addresses.
func drawPoints(t *rapid.T, most int) ([]config.MappedPoint, config.Reads) {
	width := rapid.SampledFrom([]int{12, 40, 400, 60000}).Draw(t, "width")
	base := rapid.SampledFrom([]int{0, 1000, 65535 - width}).Draw(t, "base")
	settings := drawSettings(t, base, width)
	var points []config.MappedPoint
	for i := range rapid.IntRange(0, most).Draw(t, "points") {
		function := rapid.SampledFrom([]uint8{1, 2, 3, 4, 5, 6, 15, 16, 22}).Draw(t, "function")
		kind := ems.Telemetry
		if function > 4 {
			kind = ems.Adjustment
		}
		mapping := bits(1, function, 0)
		if !mapping.IsCoil() {
			mapping = drawMapping(t)
		}
		switch {
		case function == 22:
			mapping = bitOf(1, 22, 0, 5)
		case function == 6 && mapping.Registers() > 1, function == 16 && mapping.DataType == config.String:
			mapping = register(1, function, 0, config.Uint16)
		}
		mapping.Unit, mapping.Function = uint8(rapid.IntRange(0, 2).Draw(t, "unit")), function
		mapping.Address = uint16(base + rapid.IntRange(0, width).Draw(t, "address"))
		made := point(kind, ems.PointID(i+1), mapping)
		made.Group = rapid.SampledFrom([]string{ems.DefaultGroup, "slow"}).Draw(t, "group")
		if checkMapping(&made, readsOf(settings)) == nil {
			points = append(points, made)
		}
	}
	return points, settings
}

// TestPlanIsMinimal holds the plan against its definition, address by address:
// each point of the group lies whole in exactly one read, no read is longer than
// allowed, touches what is forbidden, begins or ends with what nobody asked for, or
// bridges too much of that; and of few points, no way of parting them has fewer
// reads.
func TestPlanIsMinimal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		points, settings := drawPoints(t, rapid.SampledFrom([]int{8, 60}).Draw(t, "most points"))
		units, readings := plan(points, "slow", &settings)
		seen := make([]int, len(readings))
		for _, unit := range units {
			count := map[uint8]int{}
			for _, block := range unit.blocks {
				checkBlock(t, points, readings, &settings, unit.id, block, seen)
				count[block.function]++
			}
			for function, reads := range count {
				if wanted := wantedOf(points, "slow", unit.id, function); len(wanted) <= 6 {
					if least := fewestReads(wanted, nil, &settings, unit.id, function); reads != least {
						t.Fatalf("%d reads where %d would do: %v", reads, least, describe(units))
					}
				}
			}
		}
		for i, times := range seen {
			if times != 1 || points[readings[i]].Group != "slow" {
				t.Fatalf("point %d of group %s is read %d times", readings[i], points[readings[i]].Group, times)
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

// wantedOf returns the first address of each point and the one after its last.
func wantedOf(points []config.MappedPoint, group string, unit, function uint8) (wanted [][2]int) {
	for i := range points {
		mapping := &points[i].Mapping
		if points[i].Group == group && mapping.Unit == unit && mapping.ReadFunction() == function {
			wanted = append(wanted, [2]int{int(mapping.Address), mapping.End()})
		}
	}
	return wanted
}

// fewestReads tries every way of parting points into reads.
func fewestReads(left [][2]int, reads [][][2]int, settings *config.Reads, unit, function uint8) int {
	if len(left) == 0 {
		for _, read := range reads {
			if !isRead(read, settings, unit, function) {
				return 1 << 20
			}
		}
		return len(reads)
	}
	next := append([][][2]int{}, reads...)
	least := fewestReads(left[1:], append(next, [][2]int{left[0]}), settings, unit, function)
	for i := range reads {
		next := append([][][2]int{}, reads...)
		next[i] = append(append([][2]int{}, reads[i]...), left[0])
		least = min(least, fewestReads(left[1:], next, settings, unit, function))
	}
	return least
}

// isRead reports whether one read may serve all of these.
func isRead(read [][2]int, settings *config.Reads, unit, function uint8) bool {
	start, end, asked := 1<<20, 0, map[int]bool{}
	for _, one := range read {
		start, end = min(start, one[0]), max(end, one[1])
		for at := one[0]; at < one[1]; at++ {
			asked[at] = true
		}
	}
	most, gap := settings.MaxRegisters, settings.MaxGap
	if function <= 2 {
		most, gap = settings.MaxCoils, settings.MaxCoilGap
	}
	if end-start > most {
		return false
	}
	run := 0
	for at := start; at < end; at++ {
		run++
		if asked[at] {
			run = 0
		}
		if run > gap || isForbidden(settings, unit, function, at) {
			return false
		}
	}
	return true
}

func isForbidden(settings *config.Reads, unit, function uint8, at int) bool {
	for _, r := range settings.Forbidden {
		if (r.Unit == -1 || r.Unit == int(unit)) && (r.Function == 0 || r.Function == int(function)) && at >= int(r.First) && at <= int(r.Last) {
			return true
		}
	}
	return false
}

func checkBlock(t *rapid.T, points []config.MappedPoint, readings []int, settings *config.Reads, unit uint8, block *block, seen []int) {
	var asked [][2]int
	start, end := 1<<20, 0
	for _, item := range block.items {
		mapping := &points[readings[item.reading]].Mapping
		if mapping.Unit != unit || mapping.ReadFunction() != block.function {
			t.Fatalf("unit %d function %d in a read of unit %d function %d", mapping.Unit, mapping.Function, unit, block.function)
		}
		asked = append(asked, [2]int{int(mapping.Address), mapping.End()})
		start, end = min(start, int(mapping.Address)), max(end, mapping.End())
		seen[item.reading]++
	}
	if start != block.start || end != block.end || end > 65536 || !isRead(asked, settings, unit, block.function) {
		t.Fatalf("the read %d+%d of %v by %+v", block.start, block.end-block.start, asked, settings)
	}
}

// TestSplitEndsWithSinglePlaces: splitting on and on loses nothing and ends where
// every block has a single place.
func TestSplitEndsWithSinglePlaces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		points, settings := drawPoints(t, 60)
		units, readings := plan(points, ems.DefaultGroup, &settings)
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
					if item.start != block.start || item.end != block.end {
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
					if item.start < part.start || item.end > part.end || part.start < block.start || part.end > block.end {
						t.Fatalf("%d to %d is outside of %d to %d", item.start, item.end, part.start, part.end)
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
	units, _ := plan(points, ems.DefaultGroup, defaults())
	units[0].blocks = units[0].blocks[0].split()
	if diff := cmp.Diff([]string{"1/3:10+1", "1/3:16+5"}, describe(units)); diff != "" {
		t.Error(diff)
	}
}

// TestRejoinKeepsRefusedPlacesApart: what answers is joined around them, and no
// gap is bridged over one. A joined read knows what it was made of.
func TestRejoinKeepsRefusedPlacesApart(t *testing.T) {
	var points []config.MappedPoint
	for i, address := range []uint16{0, 1, 2, 3, 5, 6} {
		points = append(points, point(ems.Telemetry, ems.PointID(i+1), register(1, 3, address, config.Uint16)))
	}
	units, _ := plan(points, ems.DefaultGroup, defaults())
	one := units[0]
	whole := one.blocks[0]
	one.blocks = []*block{blockOf(3, whole.items[:2]), blockOf(3, whole.items[2:3]), blockOf(3, whole.items[3:4]), blockOf(3, whole.items[4:])}
	one.blocks[1].refuse("illegal", 9)
	one.rejoin(defaults())
	if diff := cmp.Diff([]string{"1/3:0+2", "1/3:3+4", "1/3:2+1"}, describe(units)); diff != "" {
		t.Error(diff)
	}
	if one.blocks[0].parts != nil {
		t.Error("what was one read before has parts")
	}
	if diff := cmp.Diff([]string{"1/3:3+1", "1/3:5+2"}, describe([]*unit{{id: 1, blocks: one.blocks[1].parts}})); diff != "" {
		t.Error(diff)
	}
	one.blocks[2].rest.succeed()
	one.rejoin(defaults())
	if diff := cmp.Diff([]string{"1/3:0+7"}, describe(units)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1/3:0+2", "1/3:2+1", "1/3:3+4"}, describe([]*unit{{id: 1, blocks: one.blocks[0].parts}})); diff != "" {
		t.Error(diff)
	}
}

func TestRejoiningIsDueOnce(t *testing.T) {
	one := unit{}
	var due []bool
	for _, in := range []int{0, 2, -1, -1, -1} {
		if in >= 0 {
			one.rejoinIn = in
		}
		due = append(due, one.due())
	}
	if diff := cmp.Diff([]bool{false, false, true, false, false}, due); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedPlacesKeepTheirCount: one that comes and goes is not tried more often
// than one that never was there.
func TestRefusedPlacesKeepTheirCount(t *testing.T) {
	one := blockOf(3, []item{{start: 7, end: 8}})
	var skipped []int
	for range 5 {
		one.refuse("illegal", 6)
		count := 0
		for one.rest.skip() {
			count++
		}
		skipped = append(skipped, count)
		one.rest.succeed()
	}
	if diff := cmp.Diff([]int{1, 2, 4, 6, 6}, skipped); diff != "" {
		t.Error(diff)
	}
}

func TestRestDoublesAndEnds(t *testing.T) {
	var r rest
	var skipped []int
	for range 8 {
		r.fail("silent", 32)
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
