package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/testkit"
)

// run executes the program in this process.
func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	var output bytes.Buffer
	command := newCommand()
	command.SetOut(&output)
	command.SetErr(&output)
	command.SetArgs(arguments)
	err := command.ExecuteContext(t.Context())
	return output.String(), err
}

func TestCheckSaysWhatASiteHoldsOrWhatIsWrong(t *testing.T) {
	output, err := run(t, "check", "../../../scenarios/microgrid")
	if err != nil || !strings.HasPrefix(output, "microgrid: sound: 5 channels, ") {
		t.Errorf("got %q, %v", output, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("site:\n  name: x\n  nmespace: y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = run(t, "check", dir)
	for _, want := range []string{"channels.yaml: missing", `site.yaml:3: unknown key "nmespace"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant: %s", err, want)
		}
	}
}

func TestFunctionsAreLoadedVerifiedAndListed(t *testing.T) {
	server := testkit.Redis(t)
	if _, err := run(t, "functions", "verify", "--redis", server.URL); err == nil || !strings.Contains(err.Error(), "voltage functions load") {
		t.Errorf("verify before loading: %v", err)
	}
	for range 2 { // loading again changes nothing
		output, err := run(t, "functions", "load", "--redis", server.URL)
		if err != nil || !strings.Contains(output, " holds library ") {
			t.Errorf("load: %q, %v", output, err)
		}
	}
	if _, err := run(t, "functions", "verify", "--redis", server.URL); err != nil {
		t.Errorf("verify: %v", err)
	}
	output, err := run(t, "functions", "list")
	if err != nil || !strings.Contains(output, "alarm_store, store_alarm\n") || !strings.Contains(output, "comsrv_ingest\n") {
		t.Errorf("list: %q, %v", output, err)
	}
	nobody := fmt.Sprintf("redis://127.0.0.1:%d", testkit.FreePort(t))
	if _, err := run(t, "functions", "load", "--redis", nobody); err == nil || !strings.Contains(err.Error(), "redis did not answer") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestWrongUseIsRefused(t *testing.T) {
	for _, arguments := range [][]string{
		{"serve", "--target=kitchen"}, {"serve", "extra"}, {"check"}, {"cook"}, {"functions", "lod"}, {"serve", "--sight=x"},
		{"serve", "--site", filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := run(t, arguments...); err == nil {
			t.Errorf("%v was accepted", arguments)
		}
	}
	output, err := run(t, "serve", "--help")
	if err != nil || !strings.Contains(output, "VOLTAGE_NAME") || !strings.Contains(output, "Examples:") {
		t.Errorf("help: %q, %v", output, err)
	}
}
