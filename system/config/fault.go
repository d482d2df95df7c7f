// Package config reads what a site says of itself: service settings (defaults,
// then YAML, then environment) and the site folder. Everything is validated
// before anything starts, and every fault names its file and line.
package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Fault is one thing wrong in one place.
type Fault struct {
	File   string // as the person wrote or would find it
	Line   int    // from 1; 0 when the file as a whole is meant
	Reason string // what is wrong and how to mend it
	// missing names the table in which something was not found, if that is it.
	missing table
}

// table is what other files refer to.
type table string

const (
	pointTables   table = "points" // channels.yaml and points/
	templateFiles table = "templates"
	modelTable    table = "models" // models.yaml
	notifyTable   table = "notify" // forward.yaml
)

// file is the file of the site folder that lists what a table keeps, empty where
// there is none.
func (t table) file() string {
	switch t {
	case pointTables:
		return "channels.yaml"
	case modelTable:
		return "models.yaml"
	case notifyTable:
		return forwardName
	default:
		return ""
	}
}

// holds reports whether a fault is one of the table itself.
func (t table) holds(fault Fault) bool {
	return fault.missing == "" && (strings.HasPrefix(fault.File, string(t)+"/") || fault.File == t.file())
}

func (f Fault) String() string {
	if f.Line == 0 {
		return f.File + ": " + f.Reason
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Reason)
}

// faults gathers every fault of a site, so that a person mends them in one go.
type faults struct{ list []Fault }

func (f *faults) add(file string, line int, format string, args ...any) {
	f.list = append(f.list, Fault{File: file, Line: line, Reason: fmt.Sprintf(format, args...)})
}

// settle drops what only follows from another fault: while a table that others
// refer to is itself at fault, a reference that leads nowhere says nothing.
func (f *faults) settle() {
	for _, kept := range []table{pointTables, templateFiles, modelTable, notifyTable} {
		if slices.ContainsFunc(f.list, kept.holds) {
			f.list = slices.DeleteFunc(f.list, func(fault Fault) bool { return fault.missing == kept })
		}
	}
}

// err returns nil when nothing is wrong, else one error that lists everything
// in the order of the files.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	sort.SliceStable(f.list, func(i, j int) bool {
		if f.list[i].File != f.list[j].File {
			return f.list[i].File < f.list[j].File
		}
		return f.list[i].Line < f.list[j].Line
	})
	details := make([]string, len(f.list))
	for i, fault := range f.list {
		details[i] = fault.String()
	}
	message := details[0]
	if len(details) > 1 {
		message = fmt.Sprintf("%d faults:\n  %s", len(details), strings.Join(details, "\n  "))
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: message, Details: details}
}
