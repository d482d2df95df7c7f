package managed

import (
	"context"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Python is Debian's, which knows its packages; another one on the path may not.
const Python = "/usr/bin/python3"

// PythonModules are those of pymodbus that tests use; it wants the others, also where
// there is no serial line.
const PythonModules = "serial, serial_asyncio, pymodbus.client, pymodbus.server"

// EnsurePeers installs the Modbus programs of other people that tests speak with,
// mbpoll and pymodbus, where this process may. Elsewhere those tests are skipped,
// and it says so.
func (i *Installer) EnsurePeers(ctx context.Context) error {
	var missing []string
	if _, err := i.LookPath("mbpoll"); err != nil {
		missing = append(missing, "mbpoll")
	}
	if i.Run(ctx, nil, Python, "-c", "import "+PythonModules) != nil {
		missing = append(missing, "python3-serial", "python3-serial-asyncio", "python3-pymodbus")
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
	if err := i.Run(ctx, nil, Python, "-c", "import "+PythonModules); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "pymodbus was installed and cannot be used: %w", err)
	}
	return nil
}
