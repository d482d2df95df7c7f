package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// benchArguments makes a process of this test the program itself.
const benchArguments = "VOLTLAB_TEST_BENCH_ARGUMENTS"

// runBench runs "voltlab bench" in a process of its own, because its exit
// status is what a pipeline looks at.
func runBench(t *testing.T, arguments ...string) (status int, output, errors string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBenchEndsWithTheStatusOfItsThresholds$")
	command.Env = append(os.Environ(), benchArguments+"="+strings.Join(arguments, "\n"))
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestBenchEndsWithTheStatusOfItsThresholds(t *testing.T) {
	if given := os.Getenv(benchArguments); given != "" {
		os.Args = append([]string{"voltlab", "bench"}, strings.Split(given, "\n")...)
		main()
		os.Exit(0)
	}
	t.Parallel()
	results := filepath.Join(t.TempDir(), "results.json")
	quick := []string{"--duration", "20ms", "--warm-up", "0", "--cases", "ping,model_read_50"}
	for _, test := range []struct {
		name      string
		arguments []string
		status    int
		output    string
		errors    string
	}{
		{"all hold", append(quick, "--threshold", "ping p99<1h", "--json", results), 0, "\n  pass  ping p99<3600s  ", "\nround 10 of 10\n"},
		{
			"one is crossed", append(quick, "--threshold", "ping p99<1h", "--threshold", "model_read_50 p99<1ns"),
			2, "\n  FAIL  model_read_50 p99<1ns  ", "\nvoltlab: thresholds crossed: model_read_50 p99<1ns (",
		},
		{
			"one cannot be read", []string{"--threshold", "ping p99<1"}, 1, "",
			"voltlab: threshold \"ping p99<1\": \"1\" is not a duration above 0: use a number with one of the units ns, us, ms, s\n",
		},
		{"no Redis", append(quick, "--redis", "redis://127.0.0.1:1"), 1, "", "voltlab: redis did not answer"},
		{"an argument", []string{"microgrid"}, 1, "", "voltlab: "},
	} {
		status, output, errors := runBench(t, test.arguments...)
		if status != test.status || !strings.Contains(output, test.output) || !strings.Contains(errors, test.errors) {
			t.Errorf("%s: status %d, want %d\n%s%s", test.name, status, test.status, output, errors)
		}
	}
	text, err := os.ReadFile(results)
	var written struct {
		Results    []struct{ Case string }
		Thresholds []struct{ Passed bool }
	}
	if err != nil || json.Unmarshal(text, &written) != nil || len(written.Results) != 2 || len(written.Thresholds) != 1 || !written.Thresholds[0].Passed {
		t.Errorf("the results were written as %s, %v", text, err)
	}
}
