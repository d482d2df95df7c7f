package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Revised returns the channel with other points: those of the given tables alone,
// or with merge those that it has, and in their place or beside them the rows of
// the given tables, by point_id. A column that a given table leaves out keeps what
// the row had there. The error lists every fault with the file and the line of the
// given table, and is INVALID.
func (c *Channel) Revised(given map[string]string, merge bool) (*Channel, error) {
	revised, tables, lines := *c, map[string]string{}, map[string]int{}
	for name, text := range given {
		tables[name] = text
		lines[tableFolder(c.ID)+name+tableSuffix] = strings.Count(text, "\n") + 1
	}
	if !merge {
		return &revised, revised.ParsePoints(tables)
	}
	for _, kind := range ems.PointTypes {
		points, mappings := c.sheets(kind)
		for _, sheet := range []*sheet{points, mappings} {
			if len(sheet.rows) > 0 || tables[sheet.name] != "" {
				tables[sheet.name] = sheet.under(tables[sheet.name])
			}
		}
	}
	found := revised.parsePoints(tables)
	for i := range found.list {
		fault := &found.list[i]
		if fault.Line > lines[fault.File] {
			fault.Line, fault.Reason = 0, "beside the rows that the channel has already: "+fault.Reason
		}
	}
	return &revised, found.err()
}

// under returns a given table with the rows of the sheet below it, so that each
// given row keeps its line. Where the given one cannot be read it stays as it is,
// and whoever reads it will tell why.
func (s *sheet) under(given string) string {
	if given == "" {
		return s.text()
	}
	text := bytes.TrimPrefix([]byte(given), []byte("\ufeff"))
	reader := csv.NewReader(bytes.NewReader(text))
	reader.TrimLeadingSpace, reader.FieldsPerRecord = true, -1
	header, err := reader.Read()
	if err != nil {
		return given
	}
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	key := slices.Index(header, "point_id")
	if key < 0 {
		return given
	}
	var added []string
	for _, column := range s.used()[len(s.columns):] {
		if !slices.Contains(header, column) {
			added = append(added, column)
		}
	}
	merged := &lined{line: 1}
	merged.write(1, append(slices.Clone(header), added...))
	rows, replaced := s.byID(), map[string]bool{}
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return given
		}
		line, _ := reader.FieldPos(0)
		former := map[string]string{}
		if key < len(cells) {
			id := strings.TrimSpace(cells[key])
			former, replaced[id] = rows[id], true
		}
		merged.write(line, append(cells, cellsOf(former, added)...))
	}
	columns := append(header, added...)
	merged.to(strings.Count(given, "\n") + 2)
	for _, row := range s.rows {
		if !replaced[row["point_id"]] {
			merged.write(merged.line, cellsOf(row, columns))
		}
	}
	return merged.text.String()
}

// lined writes rows to lines of their own.
type lined struct {
	text strings.Builder
	line int // that comes next
}

// to leaves lines empty.
func (l *lined) to(line int) {
	for ; l.line < line; l.line++ {
		l.text.WriteByte('\n')
	}
}

func (l *lined) write(line int, cells []string) {
	l.to(line)
	var row strings.Builder
	writer := csv.NewWriter(&row)
	_ = writer.Write(cells)
	writer.Flush()
	l.text.WriteString(row.String())
	l.line += strings.Count(row.String(), "\n")
}
