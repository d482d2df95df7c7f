package config

import (
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
)

// TableNames lists the tables of a channel, "telemetry" and "telemetry_mapping"
// to "adjustment" and "adjustment_mapping". A file is called so before its .csv.
func TableNames() []string {
	var names []string
	for _, kind := range ems.PointTypes {
		names = append(names, tableNames[kind], tableNames[kind]+mappingSuffix)
	}
	return names
}

// ParsePoints reads the tables of a channel from text, by their names, as
// ReadSite reads them from files. What is left out is an empty table. The channel
// has all but its points already; where anything is wrong it is left as it was.
// The error lists every fault with its file and line, and is INVALID.
func (c *Channel) ParsePoints(tables map[string]string) error {
	found := c.parsePoints(tables)
	return found.err()
}

func (c *Channel) parsePoints(tables map[string]string) *faults {
	reader := &siteReader{tables: map[string]string{}}
	known := TableNames()
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if !contains(known, name) {
			reader.faults.add(tableFolder(c.ID), 0, "there is no table %q: the tables are %s", name, listText(known))
			continue
		}
		reader.tables[tableFolder(c.ID)+name+tableSuffix] = tables[name]
	}
	points := reader.readPoints(c)
	if len(reader.faults.list) == 0 {
		c.Points = points
	}
	return &reader.faults
}
