package config

import "github.com/voltageems/voltageems-go/system/ems"

// TableDifferences is what becomes of the points of a channel with other tables.
type TableDifferences struct {
	Added     []PointName   `json:"added"`
	Changed   []PointChange `json:"changed"`
	Removed   []PointName   `json:"removed"`
	Unchanged int           `json:"unchanged"`
}

// PointName names a point for people.
type PointName struct {
	Type ems.PointType `json:"type"`
	ID   ems.PointID   `json:"id"`
	Name string        `json:"name"`
}

// PointChange is a point that is another afterwards.
type PointChange struct {
	PointName
	Fields []FieldChange `json:"fields"`
}

// FieldChange is a cell that is another afterwards, by the table and the column
// that it stands in. An empty one means the default.
type FieldChange struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// CompareTables tells by type and id what becomes of the points of a channel.
func CompareTables(before, after *Channel) TableDifferences {
	differences := TableDifferences{Added: []PointName{}, Changed: []PointChange{}, Removed: []PointName{}}
	for _, kind := range ems.PointTypes {
		pointsBefore, mappingsBefore := before.sheets(kind)
		pointsAfter, mappingsAfter := after.sheets(kind)
		formerPoints, formerMappings := pointsBefore.byID(), mappingsBefore.byID()
		latterPoints, latterMappings := pointsAfter.byID(), mappingsAfter.byID()
		for i := range after.Points {
			point := &after.Points[i]
			if point.Type != kind {
				continue
			}
			name, id := PointName{Type: kind, ID: point.ID, Name: point.Name}, uintText(uint32(point.ID))
			if formerPoints[id] == nil {
				differences.Added = append(differences.Added, name)
				continue
			}
			fields := pointsAfter.changes(formerPoints[id], latterPoints[id])
			fields = append(fields, mappingsAfter.changes(formerMappings[id], latterMappings[id])...)
			if len(fields) == 0 {
				differences.Unchanged++
			} else {
				differences.Changed = append(differences.Changed, PointChange{PointName: name, Fields: fields})
			}
		}
		for i := range before.Points {
			if point := &before.Points[i]; point.Type == kind && latterPoints[uintText(uint32(point.ID))] == nil {
				differences.Removed = append(differences.Removed, PointName{Type: kind, ID: point.ID, Name: point.Name})
			}
		}
	}
	return differences
}

func (s *sheet) byID() map[string]map[string]string {
	rows := make(map[string]map[string]string, len(s.rows))
	for _, row := range s.rows {
		rows[row["point_id"]] = row
	}
	return rows
}

// changes returns the cells in which two rows differ. Where the data_type of a point
// is that of its mapping, that tells of it.
func (s *sheet) changes(before, after map[string]string) (fields []FieldChange) {
	for _, columns := range [][]string{s.columns, s.optional} {
		for _, column := range columns {
			if before[column] != after[column] && (column != "data_type" || s.types) {
				fields = append(fields, FieldChange{Table: s.name, Column: column, Before: before[column], After: after[column]})
			}
		}
	}
	return fields
}
