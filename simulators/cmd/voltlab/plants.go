package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/scenarios"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/simulators/testbed"
	"github.com/voltageems/voltageems-go/system/ems"
)

func newPlantsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "plants",
		Short: "List the simulated plants",
		Long: `List the plants below scenarios, with what each is and how many devices it has.
A plant is a folder with a plant.yaml: devices, parameters, wiring, register profiles,
ports and the seed. Faults in the files are named with file, line and key.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			folders, err := filepath.Glob(filepath.Join("scenarios", "*", "plant.yaml"))
			if err != nil || len(folders) == 0 {
				return ems.Errorf(ems.CodeNotFound, "no plant below scenarios: run voltlab in a checkout, or name a plant's folder to serve and devices")
			}
			return listPlants(command.OutOrStdout(), folders)
		},
	}
}

func listPlants(out io.Writer, files []string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PLANT\tDEVICES\tSTEP\tCONTROL\tWHAT IT IS")
	for _, file := range files {
		definition, err := testbed.Read(filepath.Dir(file), plant.Addresses{})
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%v\t%s\t%s\n", filepath.Base(filepath.Dir(file)), len(definition.Devices), definition.Step, definition.Control, definition.Description)
	}
	return table.Flush()
}

func newDevicesCommand() *cobra.Command {
	var names bool
	command := &cobra.Command{
		Use:   "devices PLANT",
		Short: "List the devices of a simulated plant, and where they listen",
		Long: `List the devices of a plant: type, bus, address, Modbus unit and register profile.
With --names also every quantity (what is true), setpoint (what registers write) and
input (what the operator of the simulator sets) of each.`,
		Example: "  voltlab devices microgrid\n  voltlab devices microgrid --names",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			folder, err := scenarios.FindPlant(args[0], ".")
			if err != nil {
				return err
			}
			definition, err := testbed.Read(folder, plant.Addresses{})
			if err != nil {
				return err
			}
			return listDevices(command.OutOrStdout(), definition, names)
		},
	}
	command.Flags().BoolVar(&names, "names", false, "also name quantities, setpoints and inputs")
	return command
}

func listDevices(out io.Writer, definition *plant.Definition, names bool) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "DEVICE\tTYPE\tBUS\tADDRESS\tUNIT\tPROFILE")
	for _, one := range definition.Devices {
		bus := one.Bus
		for _, ends := range one.Joins {
			bus = ends[0] + "-" + ends[1]
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", one.ID, one.Type, bus, one.Listen, one.Unit, one.Profile)
	}
	if err := table.Flush(); err != nil || !names {
		return err
	}
	built := plant.New(definition)
	for _, one := range definition.Devices {
		_, err := fmt.Fprintf(out, "\n%s\n  quantities: %s\n  setpoints:  %s\n  inputs:     %s\n", one.ID,
			strings.Join(built.Names(one.ID), ", "), strings.Join(ranges(built.Setpoints(one.ID)), ", "), strings.Join(ranges(built.Inputs(one.ID)), ", "))
		if err != nil {
			return err
		}
	}
	return nil
}

// ranges names settings with what they may be.
func ranges(list []plant.Setting) []string {
	texts := []string{}
	for _, one := range list {
		text := fmt.Sprintf("%s (%v to %v)", one.Name, one.Least, one.Most)
		if one.Boolean {
			text = one.Name + " (0 or 1)"
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return []string{"none"}
	}
	return texts
}
