package testkit

import (
	"context"
	"testing"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/influxdb"
	"github.com/testcontainers/testcontainers-go/modules/redis"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The images of the servers where there is no local program.
const (
	redisImage  = "redis:7.4-alpine"
	influxImage = "influxdb:2.7-alpine"
)

// redisContainer starts a Redis in a container; noProgram says why there is no
// local one.
func redisContainer(t testing.TB, noProgram error) *RedisServer {
	t.Helper()
	var address string
	err := inContainer(func(ctx context.Context) error {
		container, err := redis.Run(ctx, redisImage, testcontainers.WithCmdArgs(
			"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--hash-max-listpack-entries", "64"))
		testcontainers.CleanupContainer(t, container)
		if err == nil {
			address, err = container.ConnectionString(ctx)
		}
		return err
	})
	if err != nil {
		t.Fatalf("this test needs a Redis: type make setup, or set %s; no local program: %v; no container: %v", redisVariable, noProgram, err)
	}
	return redisOfURL(t, address)
}

func influxContainer(t testing.TB, noProgram error) *InfluxServer {
	t.Helper()
	server := &InfluxServer{Token: "voltage-test-token", Org: "voltage", Bucket: "ems_data", test: t}
	err := inContainer(func(ctx context.Context) error {
		container, err := influxdb.Run(ctx, influxImage,
			influxdb.WithV2Auth(server.Org, server.Bucket, "voltage", "voltage-password"), influxdb.WithV2AdminToken(server.Token))
		testcontainers.CleanupContainer(t, container)
		if err == nil {
			server.URL, err = container.ConnectionUrl(ctx)
		}
		return err
	})
	if err != nil {
		t.Fatalf("this test needs an InfluxDB: type make setup, or set %s; no local program: %v; no container: %v", influxVariable, noProgram, err)
	}
	return server
}

// inContainer turns the panic of the container library on a machine without a
// container engine into an error.
func inContainer(start func(ctx context.Context) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = ems.Errorf(ems.CodeUnavailable, "%v", fault)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	return start(ctx)
}
