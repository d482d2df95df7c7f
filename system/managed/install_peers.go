package managed

import (
	"context"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Python is Debian's, which knows its packages; another one on the path may not.
const Python = "/usr/bin/python3"

// EnsurePeers installs the Modbus programs of other people that tests speak with,
// mbpoll and pymodbus, where this process may. Elsewhere those tests are skipped,
// and it says so.
func (i *Installer) EnsurePeers(ctx context.Context) error {
	var missing []string
	if _, err := i.LookPath("mbpoll"); err != nil {
		missing = append(missing, "mbpoll")
	}
	if i.Run(ctx, nil, Python, "-c", "import serial, pymodbus.server") != nil {
		missing = append(missing, "python3-serial", "python3-pymodbus")
	}
	if len(missing) == 0 {
		return nil
	}
	prefix, reason := i.aptPrefix(ctx)
	if reason != "" {
		i.say("without %v, and %s: tests against them are skipped", missing, reason)
		return nil
	}
	packages := aptPackages{installer: i, prefix: prefix}
	for _, name := range missing {
		if err := packages.install(ctx, name); err != nil {
			return ems.Errorf(ems.CodeUnavailable, "%w", err)
		}
	}
	return nil
}
