package main

import (
	"cmp"
	"context"
	"errors"
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
step of its own, before the services start: they only use it. It needs a user who
may load functions, see system/deploy/users.acl; the services have no such right.

Redis is named by --redis or VOLTAGE_REDIS_URL: redis://[user:password@]host:port,
or some nodes of a Redis Cluster, redis+cluster://[user:password@]host:port,host:port.
Then every master is loaded, verified and named.`,
		// Without these two an unknown subcommand would print help and succeed.
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	// The environment is not the flag's default, which --help would print with
	// the password in it.
	var address string
	command.PersistentFlags().StringVar(&address, "redis", "", "redis://[user:password@]host:port or redis+cluster://[user:password@]host:port[,host:port…] (default $VOLTAGE_REDIS_URL, else redis://127.0.0.1:6379)")
	withRedis := func(use func(ctx context.Context, db *rtdb.Client, say printer) error) func(*cobra.Command, []string) error {
		return func(command *cobra.Command, _ []string) error {
			db, err := rtdb.Open(rtdb.Options{
				URL:           cmp.Or(address, os.Getenv("VOLTAGE_REDIS_URL"), "redis://127.0.0.1:6379"),
				OnlyFunctions: true, Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler),
			})
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

// verifyFunctions prints a line for each Redis asked, and fails where one of them
// cannot serve.
func verifyFunctions(ctx context.Context, db *rtdb.Client, say printer) error {
	nodes, err := db.Nodes(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, node := range nodes {
		if node.Err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", node.Address, node.Err))
			continue
		}
		say("%s: %s holds %s\n", node.Address, node.Server, node.Library)
	}
	return errors.Join(faults...)
}

func listFunctions(_ context.Context, db *rtdb.Client, say printer) error {
	for _, function := range db.Library().Functions {
		names := strings.Join(append([]string{function.Name}, function.Aliases...), ", ")
		say("%s\n  %s\n  KEYS   %s\n  ARGV   %s\n  reply  %s\n", names, function.Summary, function.Keys, function.Args, function.Reply)
	}
	return nil
}
