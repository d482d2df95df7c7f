//go:build !linux

package modbus

import (
	"errors"

	"github.com/voltageems/voltageems-go/system/config"
)

func openSerial(string, config.Serial) (port, error) {
	return nil, errors.New("serial ports are served on Linux alone")
}
