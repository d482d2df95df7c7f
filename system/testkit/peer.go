package testkit

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/voltageems/voltageems-go/system/managed"
)

// Mbpoll returns the path of mbpoll, a Modbus client made with libmodbus. Without
// it the test is skipped; where CI runs it fails.
func Mbpoll(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("mbpoll")
	if err != nil {
		without(t, "mbpoll")
	}
	return path
}

// Pymodbus returns the path of a Python that has pymodbus. Without it the test is
// skipped; where CI runs it fails.
func Pymodbus(t testing.TB) string {
	t.Helper()
	if exec.CommandContext(context.Background(), managed.Python, "-c", "import "+managed.PythonModules).Run() != nil {
		without(t, "pymodbus")
	}
	return managed.Python
}

func without(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s on this machine: make peers installs it", name)
	}
	t.Skipf("no %s on this machine: make peers installs it", name)
}
