// Package sunspec finds out what a SunSpec device is and has: it walks the list of
// models that such a device keeps in its holding registers, and proposes points for
// those that it knows. The facts about models are in models.csv and points.csv, after
// the definitions that the SunSpec Alliance publishes.
package sunspec

import (
	_ "embed"
	"encoding/csv"
	"strconv"
	"strings"
	"sync"
)

//go:embed models.csv
var modelsTable string

//go:embed points.csv
var pointsTable string

// definition is a model as the specification has it.
type definition struct {
	name   string
	points []field // of the fixed part, which begins with the id
	module []field // of each part that repeats; offsets from its beginning
}

// field is a value within a model.
type field struct {
	name   string
	offset int // registers
	kind   string
	size   int    // registers
	scale  string // the field that holds the exponent of its scale, empty where there is none
	unit   string
}

// end returns the offset after the last field.
func end(fields []field) int {
	if len(fields) == 0 {
		return 0
	}
	last := fields[len(fields)-1]
	return last.offset + last.size
}

// definitions reads the tables, which a test holds to their form.
var definitions = sync.OnceValue(func() map[uint16]*definition { //nolint:gochecknoglobals // a table that nothing writes to
	models := map[uint16]*definition{}
	for _, row := range rowsOf(modelsTable) {
		models[uint16(number(row[0]))] = &definition{name: row[1]}
	}
	for _, row := range rowsOf(pointsTable) {
		model := models[uint16(number(row[0]))]
		one := field{name: row[2], offset: number(row[3]), kind: row[4], size: number(row[5]), scale: row[6], unit: strings.TrimSpace(row[7])}
		if row[1] == "" {
			model.points = append(model.points, one)
		} else {
			model.module = append(model.module, one)
		}
	}
	return models
})

// rowsOf returns the rows of a table below its head.
func rowsOf(table string) [][]string {
	rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil {
		panic(err)
	}
	return rows[1:]
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return number
}
