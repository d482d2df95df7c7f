package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func newFunctionsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "functions",
		Short: "Load, verify or list the function library in Redis",
		Long: `The business logic runs inside Redis as a library of functions. Loading it is a
step of its own, before the services start: they only use it.

Redis is named by --redis or VOLTAGE_REDIS_URL.`,
		// Without these two an unknown subcommand would print help and succeed.
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	// The environment is not the flag's default, which --help would print with
	// the password in it.
	var address string
	command.PersistentFlags().StringVar(&address, "redis", "", "redis://[user:password@]host:port (default $VOLTAGE_REDIS_URL, else redis://127.0.0.1:6379)")
	withRedis := func(use func(ctx context.Context, db *rtdb.Client, say printer) error) func(*cobra.Command, []string) error {
		return func(command *cobra.Command, _ []string) error {
			db, err := rtdb.Open(rtdb.Options{URL: cmp.Or(address, os.Getenv("VOLTAGE_REDIS_URL"), "redis://127.0.0.1:6379"), Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			return use(command.Context(), db, func(format string, args ...any) {
				_, _ = fmt.Fprintf(command.OutOrStdout(), format, args...)
			})
		}
	}
	command.AddCommand(
		&cobra.Command{
			Use: "load", Short: "Load this release's library in place of any other", Args: cobra.NoArgs,
			RunE: withRedis(loadFunctions),
		},
		&cobra.Command{
			Use: "verify", Short: "Ask whether Redis holds a library that fits this release", Args: cobra.NoArgs,
			RunE: withRedis(verifyFunctions),
		},
		&cobra.Command{
			Use: "list", Short: "List the functions of this release with what they take", Args: cobra.NoArgs,
			RunE: withRedis(listFunctions),
		},
	)
	return command
}

type printer = func(format string, args ...any)

func loadFunctions(ctx context.Context, db *rtdb.Client, say printer) error {
	if _, err := db.CheckRedis(ctx); err != nil {
		return err
	}
	if err := db.Load(ctx); err != nil {
		return err
	}
	return verifyFunctions(ctx, db, say)
}

func verifyFunctions(ctx context.Context, db *rtdb.Client, say printer) error {
	server, err := db.CheckRedis(ctx)
	if err != nil {
		return err
	}
	library, err := db.CheckFunctions(ctx)
	if err != nil {
		return err
	}
	say("%s holds %s\n", server, library)
	return nil
}

func listFunctions(_ context.Context, db *rtdb.Client, say printer) error {
	for _, function := range db.Library().Functions {
		names := strings.Join(append([]string{function.Name}, function.Aliases...), ", ")
		say("%s\n  %s\n  KEYS   %s\n  ARGV   %s\n  reply  %s\n", names, function.Summary, function.Keys, function.Args, function.Reply)
	}
	return nil
}
