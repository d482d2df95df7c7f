package config

import (
	"fmt"
	"maps"
	"os"
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
	reader := &siteReader{tables: map[string]string{}}
	known := TableNames()
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if !contains(known, name) {
			reader.faults.add(c.tableFolder(), 0, "there is no table %q: the tables are %s", name, listText(known))
			continue
		}
		reader.tables[c.tableFolder()+name+tableSuffix] = tables[name]
	}
	points := reader.readPoints(c)
	if err := reader.faults.err(); err != nil {
		return err
	}
	c.Points = points
	return nil
}

// readTable returns the text of a table, and os.ErrNotExist where there is none.
func (s *siteReader) readTable(file string) ([]byte, error) {
	if s.tables == nil {
		return readBounded(s.path(file))
	}
	text, given := s.tables[file]
	switch {
	case !given || text == "":
		return nil, os.ErrNotExist
	case len(text) > maxFileBytes:
		return nil, fmt.Errorf("larger than %d MiB", maxFileBytes>>20)
	default:
		return []byte(text), nil
	}
}
