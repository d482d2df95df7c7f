package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Devices say which simulated devices to serve, for whoever polls them, and where
// to write what those need.
type Devices struct {
	Count    int
	Points   int           // of each
	Period   time.Duration // with which comsrv and Telegraf are to poll
	Site     string        // folder of a site for comsrv
	Telegraf string        // file with the Modbus inputs for Telegraf
	Every    time.Duration // between two lines
	Clock    ems.Clock
	Out      io.Writer // a line with how many registers were read each second
}

// Bounds of the devices.
const (
	mostDevices = 10_000
	mostPoints  = 28_000 // fit into the registers of a device
)

// ServeDevices serves until ctx ends.
func ServeDevices(ctx context.Context, d Devices) error {
	switch {
	case d.Count < 1 || d.Count > mostDevices:
		return ems.Errorf(ems.CodeInvalid, "%d devices: use 1 to %d", d.Count, mostDevices)
	case d.Points <= throughputChanged || d.Points > mostPoints:
		return ems.Errorf(ems.CodeInvalid, "%d points: use %d to %d", d.Points, throughputChanged+1, mostPoints)
	case d.Every < time.Second:
		return ems.Errorf(ems.CodeInvalid, "a line every %v: use 1s or more", d.Every)
	}
	meters, err := openMeters(d.Clock, d.Count, layout{points: d.Points, mixed: true, changing: throughputChanged}, 0)
	if err != nil {
		return err
	}
	defer closeMeters(meters)
	if err := writeFiles(d.Site, meterFiles(siteName+"_devices", meters, d.Period)); err != nil {
		return err
	}
	if err := os.WriteFile(d.Telegraf, []byte(telegrafInputs(meters, d.Period)), 0o600); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "the inputs for Telegraf cannot be written: %w", err)
	}
	timer := d.Clock.NewTimer(d.Every)
	defer timer.Stop()
	before, began := count{}, d.Clock.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		}
		timer.Reset(d.Every)
		now := d.Clock.Now()
		all := countAll(meters, now)
		if _, err := fmt.Fprintf(d.Out, "%.0f registers/s\n", float64(all.since(before).registers)/now.Sub(began).Seconds()); err != nil {
			return ems.Errorf(ems.CodeUnavailable, "the figures cannot be written: %w", err)
		}
		before, began = all, now
	}
}

// telegrafInputs is a configuration for Telegraf that reads the same points as
// comsrv, with the same period, and keeps nothing.
func telegrafInputs(meters []*meter, period time.Duration) string {
	var text strings.Builder
	fmt.Fprintf(&text, "[agent]\n  interval = %q\n  flush_interval = \"1s\"\n  metric_batch_size = 5000\n  omit_hostname = true\n  quiet = true\n[[outputs.discard]]\n", period)
	for _, one := range meters {
		fmt.Fprintf(&text, "[[inputs.modbus]]\n  name = \"meter_%d\"\n  controller = \"tcp://%s\"\n  timeout = \"1s\"\n  configuration_type = \"request\"\n", one.channel, one.address)
		text.WriteString("  [[inputs.modbus.request]]\n    slave_id = 1\n    byte_order = \"ABCD\"\n    register = \"holding\"\n    fields = [\n")
		for point := range one.layout.points {
			address, registers := one.layout.place(point)
			kind := map[int]string{1: "UINT16", 2: "FLOAT32", 4: "FLOAT64"}[registers]
			fmt.Fprintf(&text, "      {address=%d, name=\"value_%d\", type=%q, scale=1.0},\n", address, point+1, kind)
		}
		text.WriteString("    ]\n")
	}
	return text.String()
}
