//go:build !linux

package modbusserver

import "github.com/voltageems/voltageems-go/system/ems"

// OpenLine answers UNAVAILABLE: see line_linux.go.
func OpenLine(string) (*Line, error) {
	return nil, ems.Errorf(ems.CodeUnavailable, "serial lines are simulated on Linux alone")
}
