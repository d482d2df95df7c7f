package servicetest

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// Fixture is one service with a Redis of its own. The API has no URL before Run.
type Fixture struct {
	API
	Redis *testkit.RedisServer
	DB    *rtdb.Client  // of the service and of the test
	Raw   *redis.Client // to look at, and to change, what the library keeps

	t testing.TB
}

// New makes a Redis that holds the library. The clock is that of DB.
func New(t testing.TB, clock ems.Clock) *Fixture {
	t.Helper()
	f := &Fixture{Redis: testkit.Redis(t), t: t}
	f.DB = f.Open(clock)
	options, err := redis.ParseURL(f.Redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	f.Raw = redis.NewClient(options)
	t.Cleanup(func() { _ = f.Raw.Close() })
	f.Load()
	return f
}

// Load puts the library into Redis. After a restart it waits until the driver tries
// to connect again, which answers for a while with what an attempt before came to.
func (f *Fixture) Load() {
	f.t.Helper()
	testkit.Eventually(f.t, Soon, func() error { return f.DB.Load(f.t.Context()) }, "the function library")
}

// Open makes one more client of the Redis, for a test that keeps that of the
// service apart from its own.
func (f *Fixture) Open(clock ems.Clock) *rtdb.Client {
	f.t.Helper()
	client, err := rtdb.Open(rtdb.Options{URL: f.Redis.URL, Clock: clock, Logger: testkit.Logger(f.t)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Run runs the service as Start does; from now on the API is that of this one.
func (f *Fixture) Run(service Service) (stop func()) {
	f.t.Helper()
	f.API, stop = Start(f.t, service)
	return stop
}

// Empty takes everything out of Redis, the functions too.
func (f *Fixture) Empty() {
	f.t.Helper()
	if err := errors.Join(f.Raw.FlushAll(f.t.Context()).Err(), f.Raw.FunctionFlush(f.t.Context()).Err()); err != nil {
		f.t.Fatal(err)
	}
}

// AwaitSubscription waits until the service listens to events of Redis.
func (f *Fixture) AwaitSubscription() {
	f.t.Helper()
	testkit.Eventually(f.t, Soon, func() error {
		count, err := f.Raw.PubSubNumPat(f.t.Context()).Result()
		if err == nil && count == 0 {
			err = errors.New("nobody has subscribed")
		}
		return err
	}, "the subscription")
}
