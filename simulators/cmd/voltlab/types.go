package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

func newTypesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "types [TYPE]",
		Short: "List the types of devices, or the parameters of one",
		Long: `List the types of devices that a plant.yaml may name, or the parameters that one type
takes there, with unit, range and default. What is so "to begin with" is an input or a
setpoint, which moves while the plant runs: voltlab devices PLANT --names lists these.`,
		Example: "  voltlab types\n  voltlab types genset",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			kinds := plant.Kinds()
			if len(args) == 0 {
				return listTypes(command.OutOrStdout(), kinds)
			}
			var names []string
			for _, one := range kinds {
				names = append(names, one.Name)
			}
			i := slices.Index(names, args[0])
			if i < 0 {
				return ems.Errorf(ems.CodeNotFound, "no type of device %q: there are %s", args[0], strings.Join(names, ", "))
			}
			return listParameters(command.OutOrStdout(), kinds[i])
		},
	}
}

func listTypes(out io.Writer, kinds []plant.Kind) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "TYPE\tWHAT IT IS")
	for _, one := range kinds {
		_, _ = fmt.Fprintf(table, "%s\t%s\n", one.Name, one.About)
	}
	return table.Flush()
}

func listParameters(out io.Writer, kind plant.Kind) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PARAMETER\tUNIT\tMAY BE\tDEFAULT\tWHAT IT IS")
	for _, one := range kind.Parameters() {
		fallback, about := one.Default, one.About
		switch {
		case one.Required:
			fallback = "required"
		case fallback == "":
			fallback = "none"
		}
		if one.When != "" {
			about += " (where " + one.When + ")"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", one.Key, unitOf(one.Key), one.Allowed, fallback, about)
	}
	return table.Flush()
}

// unitOf returns the unit that the name of a parameter ends in, "" for none.
func unitOf(name string) string {
	for _, unit := range [][2]string{ // a longer end goes before one that it ends in
		{"pct_per_c", "%/C"}, {"kj_per_k", "kJ/K"}, {"kw_per_k", "kW/K"}, {"kw_per_s", "kW/s"}, {"m_per_s", "m/s"}, {"per_kwh", "1/kWh"}, {"per_h", "1/h"},
		{"pct", "%"}, {"kw", "kW"}, {"kwh", "kWh"}, {"kva", "kVA"}, {"mva", "MVA"}, {"v", "V"}, {"mv", "mV"}, {"a", "A"}, {"ohm", "ohm"}, {"hz", "Hz"},
		{"c", "C"}, {"k", "K"}, {"s", "s"}, {"min", "min"}, {"h", "h"}, {"years", "years"}, {"rpm", "1/min"}, {"l", "L"}, {"bar", "bar"}, {"hpa", "hPa"}, {"deg", "degrees"},
	} {
		if strings.HasSuffix(name, "_"+unit[0]) {
			return unit[1]
		}
	}
	return ""
}
