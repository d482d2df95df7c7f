package config

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Tables returns the tables of the channel as they are in use, by name. Read
// again they are the same points. A table without rows is left out. The data_type
// of a point is that of its mapping, where that has one.
func (c *Channel) Tables() map[string]string {
	tables := map[string]string{}
	for _, kind := range ems.PointTypes {
		points, mappings := c.sheets(kind)
		for _, sheet := range []*sheet{points, mappings} {
			if len(sheet.rows) > 0 {
				tables[sheet.name] = sheet.text()
			}
		}
	}
	return tables
}

// sheet is a table as cells.
type sheet struct {
	name     string
	columns  []string
	optional []string // the columns that are written only where a row has something there
	types    bool     // its data_type is told by no other table
	rows     []map[string]string
}

// sheets returns the two tables of one type.
func (c *Channel) sheets(kind ems.PointType) (points, mappings *sheet) {
	points = &sheet{name: tableNames[kind], columns: pointColumns, optional: pointOptional, types: !mapsEveryPoint(c.Protocol)}
	mappings = &sheet{name: tableNames[kind] + mappingSuffix, columns: mappingColumns, optional: mappingOptional, types: true}
	if c.Protocol == ProtocolGRPC {
		mappings.columns, mappings.optional = addressColumns, nil
	}
	for i := range c.Points {
		point := &c.Points[i]
		if point.Type != kind {
			continue
		}
		points.rows = append(points.rows, pointCells(point))
		switch {
		case c.Protocol == ProtocolVirtual:
		case c.Protocol != ProtocolGRPC:
			mappings.rows = append(mappings.rows, mappingCells(point))
		case point.Mapping != (Mapping{}):
			mappings.rows = append(mappings.rows, map[string]string{"point_id": uintText(uint32(point.ID)), "address": point.Mapping.Text})
		}
	}
	return points, mappings
}

func pointCells(point *MappedPoint) map[string]string {
	cells := map[string]string{
		"point_id": uintText(uint32(point.ID)), "signal_name": point.Name, "unit": point.Unit,
		"scale": numberText(point.Scale), "offset": numberText(point.Offset), "reverse": "0", "data_type": cmp.Or(string(point.Mapping.DataType), point.ForReader),
		"min": boundText(point.Min), "max": boundText(point.Max), "max_step": boundText(point.MaxStep), "max_rate": boundText(point.MaxRate),
		"safe_value": boundText(point.SafeValue),
	}
	if point.Reverse {
		cells["reverse"] = "1"
	}
	if point.Deadband != 0 {
		cells["deadband"] = numberText(point.Deadband)
	}
	if point.Group != ems.DefaultGroup {
		cells["poll_group"] = point.Group
	}
	if point.SelectTimeout != 0 {
		cells["select_timeout"] = point.SelectTimeout.String()
	}
	return cells
}

func mappingCells(point *MappedPoint) map[string]string {
	mapping := &point.Mapping
	cells := map[string]string{
		"point_id": uintText(uint32(point.ID)), "slave_id": uintText(uint32(mapping.Unit)), "function_code": uintText(uint32(mapping.Function)),
		"register_address": uintText(uint32(mapping.Address)), "data_type": string(mapping.DataType), "byte_order": string(mapping.ByteOrder),
		"bit_position": mapping.BitsText(), "sentinel": mapping.sentinelText(),
	}
	if mapping.Length > 0 {
		cells["length"] = strconv.Itoa(mapping.Length)
	}
	return cells
}

// sentinelText is the inverse of readSentinel.
func (m *Mapping) sentinelText() string {
	if m.Sentinel == nil {
		return ""
	}
	if sunspec := sunspecSentinel(m); sunspec != nil && *sunspec == *m.Sentinel {
		return "sunspec"
	}
	return fmt.Sprintf("0x%0*X", 4*m.Registers(), m.Sentinel.Bits)
}

func numberText(number float64) string { return strconv.FormatFloat(number, 'g', -1, 64) }

func boundText(number *float64) string {
	if number == nil {
		return ""
	}
	return numberText(*number)
}

// used returns the columns that are written.
func (s *sheet) used() []string {
	columns := slices.Clone(s.columns)
	for _, column := range s.optional {
		if slices.ContainsFunc(s.rows, func(row map[string]string) bool { return row[column] != "" }) {
			columns = append(columns, column)
		}
	}
	return columns
}

func (s *sheet) text() string {
	var text strings.Builder
	writer := csv.NewWriter(&text) // to memory, which takes everything
	columns := s.used()
	_ = writer.Write(columns)
	for _, row := range s.rows {
		_ = writer.Write(cellsOf(row, columns))
	}
	writer.Flush()
	return text.String()
}

func cellsOf(row map[string]string, columns []string) []string {
	cells := make([]string, len(columns))
	for i, column := range columns {
		cells[i] = row[column]
	}
	return cells
}
