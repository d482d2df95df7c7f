// Command example is a driver in a process of its own, to be taken as a pattern. Its
// device is a folder in which each file holds one number, as Linux shows sensors,
// fans and lamps below /sys; what follows the number is why it is uncertain. In channels.yaml:
//
//   - id: 3001
//     name: board
//     protocol: grpc
//     address: 127.0.0.1:7001
//     grpc:
//     settings: {folder: /sys/class/hwmon/hwmon0}
//
// and in points/3001/telemetry_mapping.csv the file of each point:
//
//	point_id,address
//	1,temp1_input
package main

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/driverpb"
)

func main() {
	address := flag.String("listen", "127.0.0.1:7001", "host:port on which comsrv calls")
	flag.Parse()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(*address, logger); err != nil {
		logger.Error("the driver cannot serve", "error", err)
		os.Exit(1)
	}
}

// serve answers comsrv until the process is told to end.
func serve(address string, logger *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	driverpb.RegisterDriverServer(server, newDriver(logger))
	defer context.AfterFunc(ctx, server.Stop)()
	logger.Info("listening", "address", listener.Addr().String())
	return server.Serve(listener)
}
