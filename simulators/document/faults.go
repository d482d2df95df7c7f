// Package document reads the YAML files that describe a simulated plant. It
// keeps the place of every key, so that each fault names its file and line, and
// it gathers all faults of all files before anything is started.
package document

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Fault is one thing that is wrong with one line of one file.
type Fault struct {
	File string
	Line int
	Text string // names the key, what is wrong and how to mend it
}

func (f Fault) String() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text) }

// mostAlike is among how many faults before it one is looked for that is the same.
const mostAlike = 100

// Faults gathers what is wrong with a set of files. The zero value is empty and
// ready for use.
type Faults struct {
	list []Fault
}

// Add notes one fault.
func (f *Faults) Add(file string, line int, format string, args ...any) {
	f.list = append(f.list, Fault{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// Count returns how many faults have been noted.
func (f *Faults) Count() int { return len(f.list) }

// Err returns nil if there is no fault, and otherwise an error with code
// INVALID that holds one line for each fault, ordered by file and line. One that was
// noted more than once, as of a profile that many devices use, is told once.
func (f *Faults) Err() error {
	if len(f.list) == 0 {
		return nil
	}
	sorted := append([]Fault(nil), f.list...)
	sort.SliceStable(sorted, func(i, j int) bool {
		if sorted[i].File != sorted[j].File {
			return sorted[i].File < sorted[j].File
		}
		return sorted[i].Line < sorted[j].Line
	})
	var details []string
	for _, fault := range sorted {
		if text := fault.String(); !slices.Contains(details[max(0, len(details)-mostAlike):], text) {
			details = append(details, text)
		}
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: strings.Join(details, "\n"), Details: details}
}
