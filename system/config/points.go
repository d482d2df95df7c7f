package config

import (
	"encoding/csv"
	"errors"
	"io"
	"math"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// tableNames are the CSV files of each point type, in points/{channel}/.
var tableNames = map[ems.PointType]string{
	ems.Telemetry: "telemetry", ems.Signal: "signal", ems.Control: "control", ems.Adjustment: "adjustment",
}

var (
	pointColumns   = []string{"point_id", "signal_name", "scale", "offset", "unit", "reverse", "data_type"}
	pointOptional  = append([]string{"deadband", "min", "max", "poll_group"}, safetyColumns...)
	mappingColumns = []string{"point_id", "slave_id", "function_code", "register_address", "data_type", "byte_order", "bit_position"}
)

// Bounds of a point table.
const (
	maxPointsOfType = 100_000
	maxSignalName   = 100
	maxUnit         = 20
)

// readPoints reads the tables of one channel. A type without a table has no
// points; a point without a mapping row, where the protocol needs one, or the
// reverse, is a fault.
func (s *siteReader) readPoints(channel ems.ChannelID, protocol string) []MappedPoint {
	var points []MappedPoint
	folder := "points/" + uintText(uint32(channel)) + "/"
	names := map[string]string{}
	for _, kind := range ems.PointTypes {
		pointsFile, mappingFile := folder+tableNames[kind]+".csv", folder+tableNames[kind]+"_mapping.csv"
		rows := s.readPointTable(pointsFile, kind, names)
		mappings := s.readMappings(protocol, mappingFile, kind)
		for id, row := range rows {
			mapping, ok := mappings[id]
			if !ok && mapsEveryPoint(protocol) {
				s.faults.add(pointsFile, row.line, "point %d has no row in %s", id, mappingFile)
				continue
			}
			points = append(points, MappedPoint{Point: row.point, Mapping: mapping.mapping})
		}
		for id, mapping := range mappings {
			if _, ok := rows[id]; !ok {
				s.faults.add(mappingFile, mapping.line, "point %d has no row in %s", id, pointsFile)
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

type pointRow struct {
	line  int
	point ems.Point
}

func (s *siteReader) readPointTable(file string, kind ems.PointType, names map[string]string) map[ems.PointID]pointRow {
	rows := map[ems.PointID]pointRow{}
	s.eachRow(file, pointColumns, pointOptional, func(row *tableRow) {
		point := ems.Point{
			ID: row.pointID(), Type: kind, Name: row.text("signal_name"), Unit: row.text("unit"),
			Scale: row.number("scale", 1), Offset: row.number("offset", 0), Reverse: row.flag("reverse"),
			Deadband: row.number("deadband", 0), Min: row.bound("min"), Max: row.bound("max"),
			Group: row.text("poll_group"),
		}
		if point.Group == "" {
			point.Group = ems.DefaultGroup
		} else if err := ems.CheckID("poll_group", point.Group); err != nil {
			row.fault("%v", err)
		}
		row.checkPoint(&point, names)
		row.readSafety(&point)
		if first, twice := rows[point.ID]; twice {
			row.fault("point %d stands already in line %d: give each point of a table its own id", point.ID, first.line)
			return
		}
		if point.ID != 0 {
			rows[point.ID] = pointRow{line: row.line, point: point}
		}
	})
	return rows
}

func (r *tableRow) checkPoint(point *ems.Point, names map[string]string) {
	if point.Name == "" || len(point.Name) > maxSignalName {
		r.fault("signal_name must have 1 to %d characters", maxSignalName)
	} else if first, twice := names[point.Name]; twice {
		r.fault("signal_name %q is already used at %s: names are unique in a channel", point.Name, first)
	}
	names[point.Name] = r.file + ":" + strconv.Itoa(r.line)
	if len(point.Unit) > maxUnit {
		r.fault("unit %q is longer than %d characters", point.Unit, maxUnit)
	}
	if point.Scale == 0 {
		r.fault("scale is 0: a value could not be told from its offset, and a write could not be inverted")
	}
	if point.Deadband < 0 {
		r.fault("deadband %v is negative", point.Deadband)
	}
	if point.Min != nil && point.Max != nil && *point.Min > *point.Max {
		r.fault("min %v is above max %v", *point.Min, *point.Max)
	}
	switch data := r.text("data_type"); data {
	case "", "float", "double", "int", "bool", "string":
	default:
		if DataType(data).Registers() == 0 {
			r.fault("unknown data_type %q", data)
		}
	}
}

type mappingRow struct {
	line    int
	mapping Mapping
}

func (s *siteReader) readMappingTable(file string, kind ems.PointType) map[ems.PointID]mappingRow {
	rows := map[ems.PointID]mappingRow{}
	s.eachRow(file, mappingColumns, nil, func(row *tableRow) {
		id := row.pointID()
		mapping := Mapping{
			Unit:      uint8(row.integer("slave_id", 0, math.MaxUint8)),
			Function:  uint8(row.integer("function_code", 1, 16)),
			Address:   uint16(row.integer("register_address", 0, math.MaxUint16)),
			DataType:  DataType(row.text("data_type")),
			ByteOrder: ByteOrder(row.text("byte_order")),
			Bit:       -1,
		}
		if row.text("bit_position") != "" {
			mapping.Bit = int(row.integer("bit_position", 0, 15))
		}
		row.checkMapping(&mapping, kind)
		if first, twice := rows[id]; twice {
			row.fault("point %d stands already in line %d", id, first.line)
			return
		}
		if id != 0 {
			rows[id] = mappingRow{line: row.line, mapping: mapping}
		}
	})
	return rows
}

func (r *tableRow) checkMapping(mapping *Mapping, kind ems.PointType) {
	registers := mapping.DataType.Registers()
	switch {
	case registers == 0:
		r.fault("unknown data_type %q: use bool, int16, uint16, int32, uint32, int64, uint64, float32 or float64", mapping.DataType)
		return
	case mapping.ByteOrder == "":
		mapping.ByteOrder = byteOrders[registers][0]
	case !contains(byteOrders[registers], mapping.ByteOrder) && !(mapping.DataType == Bool && len(mapping.ByteOrder) <= 4):
		r.fault("byte_order %q does not fit %s: use one of %s", mapping.ByteOrder, mapping.DataType, listText(byteOrders[registers]))
	}
	reads := mapping.Function >= 1 && mapping.Function <= 4
	writes := mapping.Function == 5 || mapping.Function == 6 || mapping.Function == 15 || mapping.Function == 16
	switch {
	case kind.Writable() && !writes:
		r.fault("function_code %d does not write: use 5 or 15 (coils), 6 or 16 (holding registers)", mapping.Function)
	case !kind.Writable() && !reads:
		r.fault("function_code %d does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)", mapping.Function)
	}
	bits := mapping.Function == 1 || mapping.Function == 2 || mapping.Function == 5 || mapping.Function == 15
	switch {
	case bits && mapping.DataType != Bool:
		r.fault("data_type %s does not fit function_code %d, which carries single bits: use bool", mapping.DataType, mapping.Function)
	case !bits && mapping.DataType == Bool && mapping.Bit < 0:
		r.fault("a bool in a register needs a bit_position from 0 to 15")
	case mapping.Bit >= 0 && (bits || mapping.DataType != Bool):
		mapping.Bit = -1 // tables of the existing system carry a 0 here for whole registers
	case mapping.Function == 6 && registers != 1:
		r.fault("function_code 6 writes one register and %s takes %d: use 16", mapping.DataType, registers)
	}
	if int(mapping.Address)+registers > math.MaxUint16+1 {
		r.fault("register_address %d: %s would run past address 65535", mapping.Address, mapping.DataType)
	}
}

// tableRow is one line of a CSV file with its columns by name.
type tableRow struct {
	faults *faults
	file   string
	line   int
	cells  map[string]string
}

func (r *tableRow) fault(format string, args ...any) { r.faults.add(r.file, r.line, format, args...) }

func (r *tableRow) text(column string) string { return r.cells[column] }

func (r *tableRow) pointID() ems.PointID {
	id, err := ems.ParsePointID(r.cells["point_id"])
	if err != nil {
		r.fault("point_id %q is not a number of 1 or more", r.cells["point_id"])
	}
	return id
}

func (r *tableRow) number(column string, fallback float64) float64 {
	text := r.cells[column]
	if text == "" {
		return fallback
	}
	number, err := ems.ParseNumber(text)
	if err != nil {
		r.fault("%s %q is not a finite number", column, text)
		return fallback
	}
	return number
}

func (r *tableRow) bound(column string) *float64 {
	if r.cells[column] == "" {
		return nil
	}
	number := r.number(column, 0)
	return &number
}

func (r *tableRow) integer(column string, least, most int64) int64 {
	number, err := strconv.ParseInt(r.cells[column], 10, 64)
	if err != nil || number < least || number > most {
		r.fault("%s %q is not a whole number from %d to %d", column, r.cells[column], least, most)
		return least
	}
	return number
}

func (r *tableRow) flag(column string) bool {
	switch strings.ToLower(r.cells[column]) {
	case "", "0", "false", "no":
		return false
	case "1", "true", "yes":
		return true
	default:
		r.fault("%s %q is neither true nor false", column, r.cells[column])
		return false
	}
}

// eachRow calls visit for every row of a CSV file. A missing file has no rows.
func (s *siteReader) eachRow(file string, columns, optional []string, visit func(*tableRow)) {
	text, err := readBounded(s.path(file))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		s.faults.add(file, 0, "%v", err)
		return
	}
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(text), "\ufeff")))
	reader.TrimLeadingSpace = true
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if err != nil {
		s.faults.add(file, 1, "the first line must name the columns: %s", strings.Join(columns, ","))
		return
	}
	if !s.checkHeader(file, header, columns, optional) {
		return
	}
	for count := 0; ; count++ {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			s.faults.add(file, syntax.Line, "column %d: %v", syntax.Column, syntax.Err)
			return
		}
		line, _ := reader.FieldPos(0)
		if count >= maxPointsOfType {
			s.faults.add(file, line, "more than %d rows", maxPointsOfType)
			return
		}
		if len(cells) != len(header) {
			s.faults.add(file, line, "%d columns where the first line names %d", len(cells), len(header))
			continue
		}
		row := &tableRow{faults: &s.faults, file: file, line: line, cells: make(map[string]string, len(cells))}
		for i, name := range header {
			row.cells[strings.TrimSpace(name)] = strings.TrimSpace(cells[i])
		}
		visit(row)
	}
}

func (s *siteReader) checkHeader(file string, header, columns, optional []string) bool {
	seen := map[string]bool{}
	sound := true
	for _, name := range header {
		name = strings.TrimSpace(name)
		if seen[name] {
			s.faults.add(file, 1, "column %q stands twice", name)
			sound = false
		}
		seen[name] = true
		if !contains(columns, name) && !contains(optional, name) {
			s.faults.add(file, 1, "unknown column %q: the columns are %s", name, strings.Join(columns, ","))
			sound = false
		}
	}
	for _, name := range columns {
		if !seen[name] {
			s.faults.add(file, 1, "column %q is missing", name)
			sound = false
		}
	}
	return sound
}
