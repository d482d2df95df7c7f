package config

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// tableNames are the CSV files of each point type, in points/{channel}/.
var tableNames = map[ems.PointType]string{
	ems.Telemetry: "telemetry", ems.Signal: "signal", ems.Control: "control", ems.Adjustment: "adjustment",
}

// How the name of a table becomes that of its mapping, and that of a file.
const (
	mappingSuffix = "_mapping"
	tableSuffix   = ".csv"
)

// tableFolder is where the tables of a channel are within its site.
func tableFolder(id ems.ChannelID) string { return "points/" + uintText(uint32(id)) + "/" }

var (
	pointColumns    = []string{"point_id", "signal_name", "scale", "offset", "unit", "reverse", "data_type"}
	pointOptional   = []string{"deadband", "min", "max", "poll_group", "max_step", "max_rate", "safe_value", "select_timeout"}
	mappingColumns  = []string{"point_id", "slave_id", "function_code", "register_address", "data_type", "byte_order", "bit_position"}
	mappingOptional = []string{"length", "sentinel"}
)

// Bounds of the texts of a point.
const (
	maxSignalName = 100
	maxUnit       = 20
)

// readPoints reads the tables of one channel. A type without a table has no
// points; a point without a mapping row, where the protocol needs one, or the
// reverse, is a fault.
func (s *siteReader) readPoints(channel *Channel) []MappedPoint {
	var points []MappedPoint
	names := map[string]string{}
	targets := writeTargets{}
	for _, kind := range ems.PointTypes {
		pointsFile := tableFolder(channel.ID) + tableNames[kind] + tableSuffix
		mappingFile := tableFolder(channel.ID) + tableNames[kind] + mappingSuffix + tableSuffix
		rows, pointsWhole := s.readPointTable(pointsFile, kind, channel, names)
		mappings, mappingsWhole := s.readMappings(mappingFile, kind, channel, targets)
		if !pointsWhole || !mappingsWhole { // what is missing may stand where nobody came to
			continue
		}
		for id, row := range rows {
			mapping, ok := mappings[id]
			if !ok && mapsEveryPoint(channel.Protocol) {
				s.faults.add(pointsFile, row.line, "point_id %d has no row in %s", id, mappingFile)
				continue
			}
			point := MappedPoint{Point: row.point, Mapping: mapping.mapping}
			if !mapsEveryPoint(channel.Protocol) {
				point.ForReader = row.forReader
			} else if mapping.sound && kind.Writable() && point.Scale != 0 {
				s.checkHeld(pointsFile, row.line, &point)
			}
			points = append(points, point)
		}
		for id, mapping := range mappings {
			if _, ok := rows[id]; !ok {
				s.faults.add(mappingFile, mapping.line, "point_id %d has no row in %s", id, pointsFile)
			}
		}
	}
	sort.Slice(points, func(i, j int) bool {
		if points[i].Type != points[j].Type {
			return typeOrder(points[i].Type) < typeOrder(points[j].Type)
		}
		return points[i].ID < points[j].ID
	})
	return points
}

func typeOrder(t ems.PointType) int { return strings.IndexByte("TSCA", byte(t)) }

// checkHeld makes sure that the type of a point which is written holds what its
// table says of its values.
func (s *siteReader) checkHeld(file string, line int, point *MappedPoint) {
	for _, cell := range []struct {
		column string
		value  *float64
	}{{"min", point.Min}, {"max", point.Max}, {"safe_value", point.SafeValue}} {
		if cell.value == nil {
			continue
		}
		if err := point.CheckHeld(*cell.value); err != nil {
			s.faults.add(file, line, "%s %v", cell.column, err)
		}
	}
}

type pointRow struct {
	line      int
	point     ems.Point
	forReader string // its data_type
}

func (s *siteReader) readPointTable(file string, kind ems.PointType, channel *Channel, names map[string]string) (rows map[ems.PointID]pointRow, whole bool) {
	rows = map[ems.PointID]pointRow{}
	whole = s.eachRow(file, pointColumns, pointOptional, func(row *tableRow) {
		point := ems.Point{
			ID: row.pointID(), Type: kind, Name: row.prose("signal_name"), Unit: row.prose("unit"),
			Scale: row.number("scale", 1), Offset: row.number("offset", 0), Reverse: row.flag("reverse"),
			Deadband: row.number("deadband", 0), Min: row.bound("min"), Max: row.bound("max"),
			Group: row.readGroup(channel),
		}
		row.checkPoint(&point, names)
		row.readSafety(&point)
		if first, twice := rows[point.ID]; twice {
			row.fault("point_id", "%d stands already in line %d: give each point of a table its own", point.ID, first.line)
			return
		}
		if point.ID != 0 {
			rows[point.ID] = pointRow{line: row.line, point: point, forReader: row.text("data_type")}
		}
	})
	return rows, whole
}

func (r *tableRow) checkPoint(point *ems.Point, names map[string]string) {
	if point.Name == "" || len(point.Name) > maxSignalName {
		r.fault("signal_name", "must have 1 to %d characters", maxSignalName)
	} else if first, twice := names[point.Name]; twice {
		r.fault("signal_name", "%q is already used at %s: names are unique in a channel", point.Name, first)
	}
	names[point.Name] = r.file + ":" + strconv.Itoa(r.line)
	if len(point.Unit) > maxUnit {
		r.fault("unit", "%q is longer than %d characters", point.Unit, maxUnit)
	}
	if point.Scale == 0 {
		r.fault("scale", "is 0: a value could not be told from its offset, and a write could not be inverted")
	}
	if point.Deadband < 0 {
		r.fault("deadband", "%v is negative", point.Deadband)
	}
	if point.Min != nil && point.Max != nil && *point.Min > *point.Max {
		r.fault("min", "%v is above max %v", *point.Min, *point.Max)
	}
	switch data := r.text("data_type"); data {
	case "", "float", "double", "int":
	default:
		if !slices.Contains(DataTypes, DataType(data)) {
			r.fault("data_type", "%q is unknown: use float, double, int or one of %s", data, listText(DataTypes))
		}
	}
}

type mappingRow struct {
	line    int
	mapping Mapping
	sound   bool
}

func (s *siteReader) readMappingTable(file string, kind ems.PointType, channel *Channel, targets writeTargets) (rows map[ems.PointID]mappingRow, whole bool) {
	rows = map[ems.PointID]mappingRow{}
	whole = s.eachRow(file, mappingColumns, mappingOptional, func(row *tableRow) {
		id := row.pointID()
		mapping, sound := row.mapping(kind, channel)
		if first, twice := rows[id]; twice {
			row.fault("point_id", "%d stands already in line %d: give each point of a table its own", id, first.line)
			return
		}
		if sound && kind.Writable() {
			if address, other := targets.meets(&mapping); other != "" {
				row.fault("register_address", "%d is written by %s too: give each place one point that writes it", address, other)
			}
			targets.add(&mapping, row.file+":"+strconv.Itoa(row.line))
		}
		if id != 0 {
			rows[id] = mappingRow{line: row.line, mapping: mapping, sound: sound}
		}
	})
	return rows, whole
}

// mapping reads the place of a point and checks it on its own and against what
// the channel says of its device. All that is wrong in a row is told at once.
func (r *tableRow) mapping(kind ems.PointType, channel *Channel) (mapping Mapping, sound bool) {
	before := len(r.faults.list)
	mapping = Mapping{
		Unit:      uint8(r.integer("slave_id", 0, math.MaxUint8)),
		Function:  uint8(r.integer("function_code", 1, maskRegister)),
		Address:   uint16(r.integer("register_address", 0, math.MaxUint16)),
		DataType:  DataType(r.text("data_type")),
		ByteOrder: ByteOrder(r.text("byte_order")),
	}
	if mapping.Bit, mapping.Bits, sound = parseBits(r.text("bit_position")); !sound {
		r.fault("bit_position", "%q is neither a bit from 0 to 63 nor several, written as 4-7", r.text("bit_position"))
	}
	if r.text("length") != "" {
		mapping.Length = int(r.integer("length", 1, maxLength))
	}
	if r.told["function_code"] {
		mapping.Function = 0 // none, so that nothing is told of what it would read or write
	}
	mapping.Check(kind, r.faultOnce)
	if r.sound("data_type", "function_code", "byte_order", "length") {
		mapping.readSentinel(r.text("sentinel"), r.fault)
	}
	if r.sound("data_type", "function_code", "byte_order", "length", "slave_id", "register_address") {
		channel.CheckMapping(&mapping, kind, r.fault)
	}
	return mapping, len(r.faults.list) == before
}

// writeTargets are the bits that points write, by where they are.
type writeTargets map[writeTarget][]writtenBits

type writeTarget struct {
	unit    uint8
	read    uint8 // the function that reads it
	address uint16
}

type writtenBits struct {
	bits  uint16
	where string // says where the point is to be found
}

// meets returns the first place of a mapping that another one writes too, and which:
// one of the two would undo the other.
func (t writeTargets) meets(mapping *Mapping) (address int, other string) {
	for address = int(mapping.Address); address < mapping.End() && address <= math.MaxUint16; address++ {
		bits := mapping.place(address - int(mapping.Address))
		for _, taken := range t[mapping.target(address)] {
			if taken.bits&bits != 0 {
				return address, taken.where
			}
		}
	}
	return 0, ""
}

// add notes what a mapping writes.
func (t writeTargets) add(mapping *Mapping, where string) {
	for address := int(mapping.Address); address < mapping.End() && address <= math.MaxUint16; address++ {
		at := mapping.target(address)
		t[at] = append(t[at], writtenBits{bits: mapping.place(address - int(mapping.Address)), where: where})
	}
}

func (m *Mapping) target(address int) writeTarget {
	return writeTarget{unit: m.Unit, read: m.ReadFunction(), address: uint16(address)}
}
