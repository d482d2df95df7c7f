package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/system/ems"
)

func newFaultsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "faults",
		Short: "List what can go wrong in a simulated plant, inject it and clear it",
		Long: `List every fault with what it does and which parameters it takes beside start_s and
duration_s. Faults of machines and values go by simulated time, those on the wire by
real time. Machines are truly at fault; values and the wire lie about the truth.`,
		Example: "  voltlab faults\n  voltlab faults inject battery cell_overheating amount=45 ramp_s=60\n  voltlab faults inject pv silence duration_s=30\n  voltlab faults active\n  voltlab faults clear 3",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return listKinds(command.OutOrStdout())
		},
	}
	control := command.PersistentFlags().String("control", defaultControl, "HOST:PORT of the control API of the plant")
	command.AddCommand(newInjectCommand(control), newActiveCommand(control), newClearCommand(control))
	return command
}

func listKinds(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KIND\tWHERE\tDEVICES\tWHAT IT DOES\tTAKES")
	for _, kind := range fault.Kinds() {
		devices := "all"
		if len(kind.Devices) > 0 {
			devices = strings.Join(kind.Devices, " ")
		}
		takes := strings.Join(kind.Takes, " ")
		if kind.Amount != 0 {
			takes = strings.Replace(takes, "amount", fmt.Sprintf("amount (%v)", kind.Amount), 1)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", kind.Name, kind.Group, devices, kind.Does, takes)
	}
	return table.Flush()
}

func newInjectCommand(control *string) *cobra.Command {
	return &cobra.Command{
		Use:   "inject DEVICE KIND [PARAMETER=VALUE ...]",
		Short: "Inject a fault into a device of a running plant",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(command *cobra.Command, args []string) error {
			request := fault.Fault{Device: args[0], Kind: args[1]}
			for _, text := range args[2:] {
				if err := addParameter(&request, text); err != nil {
					return err
				}
			}
			var injected fault.Fault
			if err := askControl(command.Context(), *control, http.MethodPost, "/faults", request, &injected); err != nil {
				return err
			}
			_, err := fmt.Fprintf(command.OutOrStdout(), "fault %d is set: voltlab faults clear %d ends it\n", injected.ID, injected.ID)
			return err
		},
	}
}

// addParameter adds one that is written as NAME=VALUE.
func addParameter(f *fault.Fault, text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" || value == "" {
		return ems.Errorf(ems.CodeInvalid, "%q: write a parameter as NAME=VALUE, for example amount=45", text)
	}
	if known := parameterNames(); !slices.Contains(known, name) {
		return ems.Errorf(ems.CodeInvalid, "%q: no fault takes a parameter %s: there are %s", text, name, strings.Join(known, ", "))
	}
	encoded, err := json.Marshal(value)
	if number, no := strconv.ParseFloat(value, 64); no == nil && !math.IsInf(number, 0) && !math.IsNaN(number) {
		encoded, err = json.Marshal(number)
	}
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "%q: %w", text, err)
	}
	var wrong *json.UnmarshalTypeError
	err = json.Unmarshal([]byte(`{"`+name+`":`+string(encoded)+`}`), f)
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Type.Kind() == reflect.String:
		return ems.Errorf(ems.CodeInvalid, "%q: %s is a name: voltlab devices PLANT --names lists them", text, name)
	case wrong.Type.Kind() == reflect.Float64:
		return ems.Errorf(ems.CodeInvalid, "%q: %s is a number", text, name)
	default:
		return ems.Errorf(ems.CodeInvalid, "%q: %s is a whole number", text, name)
	}
}

// parameterNames lists the parameters of all kinds of faults.
func parameterNames() []string {
	names := []string{"start_s", "duration_s"}
	for _, kind := range fault.Kinds() {
		names = append(names, kind.Takes...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func newActiveCommand(control *string) *cobra.Command {
	return &cobra.Command{
		Use:   "active",
		Short: "List the faults that are set in a running plant",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			var states []fault.State
			if err := askControl(command.Context(), *control, http.MethodGet, "/faults", nil, &states); err != nil {
				return err
			}
			table := tabwriter.NewWriter(command.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "ID\tDEVICE\tKIND\tWHERE\tSTRUCK")
			for _, one := range states {
				_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\n", one.ID, one.Device, one.Kind, one.Group, one.Struck)
			}
			return table.Flush()
		},
	}
}

func newClearCommand(control *string) *cobra.Command {
	return &cobra.Command{
		Use:   "clear [ID]",
		Short: "Clear a fault of a running plant, or all of them",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			path := "/faults"
			if len(args) == 1 {
				path += "/" + args[0]
			}
			if err := askControl(command.Context(), *control, http.MethodDelete, path, nil, &struct{}{}); err != nil {
				return err
			}
			_, err := fmt.Fprintln(command.OutOrStdout(), "cleared")
			return err
		},
	}
}

// askControl asks the control API of a plant, and decodes the data of its answer.
func askControl(ctx context.Context, control, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, truthWithin)
	defer cancel()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return ems.Errorf(ems.CodeInvalid, "the request cannot be written: %w", err)
		}
		text = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+control+path, text)
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "--control %q: write it as HOST:PORT: %w", control, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "no plant answers at %s: start one with voltlab serve PLANT, or name its control API by --control: %w", control, err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Success bool
		Data    json.RawMessage
		Error   *struct {
			Code    ems.Code
			Message string
		}
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, mostTruth)).Decode(&answer); err != nil || !answer.Success && answer.Error == nil {
		return ems.Errorf(ems.CodeUnavailable, "what answers at %s is no control API of a plant (status %d)", control, response.StatusCode)
	}
	if answer.Error != nil {
		return ems.Errorf(answer.Error.Code, "%s", answer.Error.Message)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "the answer of %s cannot be read: %w", control, err)
	}
	return nil
}
