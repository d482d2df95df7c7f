package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of a table.
const (
	maxTableRows   = 100_000
	maxTableFaults = 1000 // more say no more, and would fill the memory
	maxColumns     = 100
	maxCell        = 1000 // bytes
)

// tableRow is one line of a CSV file with its columns by name.
type tableRow struct {
	faults *faults
	file   string
	line   int
	cells  map[string]string
	told   map[string]bool // columns with a fault
}

// fault tells what is wrong in a column, in words that follow its name.
func (r *tableRow) fault(column, format string, args ...any) {
	r.faults.add(r.file, r.line, column+" "+format, args...)
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[column] = true
}

// faultOnce is fault for a column of which nothing was told yet: where its text is no
// number, what the number in its place means is nothing to tell.
func (r *tableRow) faultOnce(column, format string, args ...any) {
	if !r.told[column] {
		r.fault(column, format, args...)
	}
}

// sound reports whether nothing was told of these columns.
func (r *tableRow) sound(columns ...string) bool {
	return !slices.ContainsFunc(columns, func(column string) bool { return r.told[column] })
}

func (r *tableRow) text(column string) string { return r.cells[column] }

// prose is a cell that people read. One that a spreadsheet would run as a formula
// is refused, because tables are opened in spreadsheets: a lone "-" is none.
func (r *tableRow) prose(column string) string {
	text := r.cells[column]
	switch {
	case text == "":
	case strings.Contains("=+-@", text[:1]) && text != "-":
		r.fault(column, "%q begins with %s, and a spreadsheet would run it as a formula: begin with something else", text, text[:1])
	case strings.ContainsFunc(text, unicode.IsControl):
		r.fault(column, "%q has a control character", text)
	}
	return text
}

func (r *tableRow) pointID() ems.PointID {
	id, err := ems.ParsePointID(r.cells["point_id"])
	if err != nil {
		r.fault("point_id", "%q is not a number of 1 or more", r.cells["point_id"])
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
		r.fault(column, "%q is not a finite number", text)
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
		r.fault(column, "%q is not a whole number from %d to %d", r.cells[column], least, most)
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
		r.fault(column, "%q is neither true nor false", r.cells[column])
		return false
	}
}

// readTable returns the text of a table, which is in the site folder unless the
// channel brings its own.
func (s *siteReader) readTable(file string) ([]byte, error) {
	if s.tables == nil {
		return readBounded(s.path(file))
	}
	text, found := s.tables[file]
	switch {
	case !found || text == "":
		return nil, os.ErrNotExist
	case len(text) > maxFileBytes:
		return nil, fmt.Errorf("larger than %d MiB", maxFileBytes>>20)
	default:
		return []byte(text), nil
	}
}

// eachRow calls visit for every row of a CSV file and reports whether it came to
// the end. A missing file has no rows.
func (s *siteReader) eachRow(file string, columns, optional []string, visit func(*tableRow)) (whole bool) {
	text, err := s.readTable(file)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil {
		s.faults.add(file, 0, "%v", err)
		return false
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if at, reason := notText(text); reason != "" {
		line, column := position(text, at)
		s.faults.add(file, line, "column %d: %s", column, reason)
		return false
	}
	reader := csv.NewReader(bytes.NewReader(text))
	reader.TrimLeadingSpace = true
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if err != nil {
		s.faults.add(file, 1, "the first line must name the columns: %s", strings.Join(columns, ","))
		return false
	}
	if !s.checkHeader(file, header, columns, optional) {
		return false
	}
	before := len(s.faults.list)
	for count := 0; ; count++ {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return true
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			s.faults.add(file, syntax.Line, "column %d: %v", syntax.Column, syntax.Err)
			return false
		}
		line, _ := reader.FieldPos(0)
		if count >= maxTableRows {
			s.faults.add(file, line, "more than %d rows", maxTableRows)
			return false
		}
		if len(s.faults.list)-before >= maxTableFaults {
			s.faults.add(file, line, "more than %d faults above: the rest was not looked at", maxTableFaults)
			return false
		}
		if len(cells) != len(header) {
			s.faults.add(file, line, "%d columns where the first line names %d", len(cells), len(header))
			continue
		}
		row := &tableRow{faults: &s.faults, file: file, line: line, cells: make(map[string]string, len(cells))}
		for i, name := range header {
			if row.cells[name] = strings.TrimSpace(cells[i]); len(row.cells[name]) > maxCell {
				row.fault(name, "has %d bytes, more than %d", len(row.cells[name]), maxCell)
				row.cells[name] = ""
			}
		}
		visit(row)
	}
}

// notText finds the first byte that no table of text has, and says what it is.
func notText(text []byte) (at int, reason string) {
	if at = bytes.IndexByte(text, 0); at >= 0 {
		return at, "a NUL byte: this is not a text file, save the table as CSV in UTF-8"
	}
	for at = 0; at < len(text); {
		if text[at] < utf8.RuneSelf {
			at++
			continue
		}
		letter, size := utf8.DecodeRune(text[at:])
		if letter == utf8.RuneError && size == 1 {
			return at, "a byte that is no UTF-8: save the table as CSV in UTF-8"
		}
		at += size
	}
	return 0, ""
}

// position returns the line and the column of a byte, both from 1; columns are
// counted in bytes, as the reader of CSV does.
func position(text []byte, at int) (line, column int) {
	return bytes.Count(text[:at], []byte{'\n'}) + 1, at - bytes.LastIndexByte(text[:at], '\n')
}

// checkHeader finds what is wrong with the names of the columns, and strips them.
func (s *siteReader) checkHeader(file string, header, columns, optional []string) bool {
	if len(header) > maxColumns {
		s.faults.add(file, 1, "%d columns: the columns are %s", len(header), columnsText(columns, optional))
		return false
	}
	if len(header) == 1 && strings.ContainsAny(header[0], ";\t") {
		s.faults.add(file, 1, "the columns are parted by semicolons or tabs: use commas, and points in numbers")
		return false
	}
	seen := map[string]bool{}
	sound := true
	for i, name := range header {
		name = strings.TrimSpace(name)
		header[i] = name
		if len(name) > maxCell {
			name = name[:maxCell]
		}
		if seen[name] {
			s.faults.add(file, 1, "column %q stands twice", name)
			sound = false
		}
		seen[name] = true
		if !contains(columns, name) && !contains(optional, name) {
			s.faults.add(file, 1, "unknown column %q: the columns are %s", name, columnsText(columns, optional))
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

func columnsText(columns, optional []string) string {
	text := strings.Join(columns, ",")
	if len(optional) > 0 {
		text += ", and where wanted " + strings.Join(optional, ",")
	}
	return text
}
