package managed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestEnsurePeersInstallsWhatIsMissing(t *testing.T) {
	t.Parallel()
	const asks = Python + " -c import " + PythonModules
	none, install := errors.New("no module"), rootApt+"install --yes --no-install-recommends "
	for name, test := range map[string]struct {
		stub machineStub
		want []string
		says string
	}{
		"all there":    {machineStub{programs: []string{"mbpoll"}}, []string{asks}, ""},
		"no mbpoll":    {machineStub{programs: []string{"apt-get"}}, []string{asks, install + "mbpoll", asks}, "installing the package mbpoll"},
		"no pymodbus":  {machineStub{programs: []string{"mbpoll", "apt-get"}, fail: map[string]error{asks: none}}, []string{asks, install + "python3-serial", install + "python3-serial-asyncio", install + "python3-pymodbus", asks}, ""},
		"an old list":  {machineStub{programs: []string{"apt-get"}, fail: map[string]error{install + "mbpoll": none}}, []string{asks, install + "mbpoll", rootApt + "update", install + "mbpoll", asks}, ""},
		"no installer": {machineStub{}, []string{asks}, "without [mbpoll], and this system has no apt-get: tests against them are skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			installer, out := test.stub.installer("linux", 0)
			if err := installer.EnsurePeers(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(test.stub.commands, test.want) || !strings.Contains(out.String(), test.says) {
				t.Errorf("commands %q, want %q; says %q", test.stub.commands, test.want, out.String())
			}
		})
	}
	offline := machineStub{programs: []string{"apt-get"}, fail: map[string]error{install + "mbpoll": none, rootApt + "update": none}}
	installer, _ := offline.installer("linux", 0)
	if err := installer.EnsurePeers(context.Background()); !errors.Is(err, none) {
		t.Errorf("offline: %v", err)
	}
}
