package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/system/ems"
)

const (
	// defaultControl is where the plants of the product have their control API.
	defaultControl = "127.0.0.1:5020"
	truthWithin    = 5 * time.Second
	mostTruth      = 64 << 20 // bytes
)

func newTruthCommand() *cobra.Command {
	var control string
	command := &cobra.Command{
		Use:   "truth [DEVICE[.NAME]]",
		Short: "Show what is true in a running plant",
		Long: `Ask the control API of a running plant for the true values of the last tick: of all
devices, of one, or one value alone, as a number that a script can use. They are true
whatever the registers of a device show.`,
		Example: "  voltlab truth\n  voltlab truth battery\n  voltlab truth battery.state_of_charge_pct",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			truth, err := askTruth(command.Context(), control)
			if err != nil {
				return err
			}
			what := ""
			if len(args) == 1 {
				what = args[0]
			}
			return truth.show(command.OutOrStdout(), what)
		},
	}
	command.Flags().StringVar(&control, "control", defaultControl, "HOST:PORT of the control API")
	return command
}

// truth is what the control API answers.
type truth struct {
	Plant         string
	Tick          uint64
	Digest        string
	SimulatedTime time.Time `json:"simulated_time"`
	Devices       map[string]struct {
		Type                      string
		Values, Setpoints, Inputs map[string]float64
	}
}

func askTruth(ctx context.Context, control string) (*truth, error) {
	var answer truth
	if err := askControl(ctx, control, http.MethodGet, "/truth", nil, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// show writes one value, the values of one device, or all.
func (t *truth) show(out io.Writer, what string) error {
	device, name, one := strings.Cut(what, ".")
	found, known := t.Devices[device]
	if what != "" && !known {
		return ems.Errorf(ems.CodeNotFound, "no device %q: the plant has %s", device, strings.Join(sorted(t.Devices), ", "))
	}
	if one {
		for _, values := range []map[string]float64{found.Values, found.Setpoints, found.Inputs} {
			if value, ok := values[name]; ok {
				_, err := fmt.Fprintln(out, value)
				return err
			}
		}
		return ems.Errorf(ems.CodeNotFound, "device %s has no value %q: it has %s", device, name,
			strings.Join(slices.Concat(sorted(found.Values), sorted(found.Setpoints), sorted(found.Inputs)), ", "))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "%s, tick %d, %s, digest %s\n", t.Plant, t.Tick, t.SimulatedTime.Format(time.RFC3339Nano), t.Digest)
	for _, id := range sorted(t.Devices) {
		if what != "" && id != device {
			continue
		}
		for _, of := range []struct {
			kind   string
			values map[string]float64
		}{{"", t.Devices[id].Values}, {"setpoint", t.Devices[id].Setpoints}, {"input", t.Devices[id].Inputs}} {
			for _, name := range sorted(of.values) {
				_, _ = fmt.Fprintf(table, "%s\t%s\t%v\t%s\n", id, name, of.values[name], of.kind)
			}
		}
	}
	return table.Flush()
}

func sorted[V any](of map[string]V) []string {
	names := []string{}
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
