package ems

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with what somebody wrote, told without the file in
// which it stands.
type Fault struct {
	Path    []any  // the names of keys and the indexes of lists that lead to it
	Message string // what is wrong and how to mend it
}

func (f Fault) String() string {
	if len(f.Path) == 0 {
		return f.Message
	}
	return PathText(f.Path) + ": " + f.Message
}

// PathText writes a path as people do: "mapping.data.power", "computed[2].of".
func PathText(path []any) string {
	var text strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&text, "[%d]", step)
		case string:
			if text.Len() > 0 {
				text.WriteByte('.')
			}
			text.WriteString(step)
		}
	}
	return text.String()
}

// Refuse returns one INVALID error that lists every fault of what is named, and
// nil when there is none.
func Refuse(what string, faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	details := make([]string, len(faults))
	for i, fault := range faults {
		details[i] = fault.String()
	}
	return &Error{Code: CodeInvalid, Message: what + " cannot be used: " + details[0], Details: details}
}

// faultList gathers faults below a common path.
type faultList []Fault

func (f *faultList) add(path []any, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}
