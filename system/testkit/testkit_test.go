package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeTest stands for a test that may fail. What it does not override panics.
type fakeTest struct {
	testing.TB
	name     string
	mu       sync.Mutex
	failures []string
	logged   []string
	cleanups []func()
}

func (f *fakeTest) Helper()      {}
func (f *fakeTest) Name() string { return f.name }
func (f *fakeTest) Cleanup(clean func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleanups = append(f.cleanups, clean)
}

func (f *fakeTest) Log(args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logged = append(f.logged, fmt.Sprint(args...))
}

func (f *fakeTest) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeTest) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// run runs the body of the test and returns its failures. The clean-up is left
// to end.
func (f *fakeTest) run(body func(t testing.TB)) []string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(f)
	}()
	<-done
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.failures)
}

func (f *fakeTest) end() {
	for _, clean := range slices.Backward(f.cleanups) {
		clean()
	}
	f.cleanups = nil
}

func connect(t *testing.T, address string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	options.DialerRetries = 1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestEventually(t *testing.T) {
	t.Parallel()
	calls := 0
	Eventually(t, 10*time.Second, func() error {
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		return nil
	}, "three calls")
	if calls != 3 {
		t.Errorf("%d calls", calls)
	}
	fake := &fakeTest{}
	failures := fake.run(func(t testing.TB) {
		Eventually(t, 20*time.Millisecond, func() error { return errors.New("still closed") }, "the door opens")
	})
	if want := []string{"the door opens: not within 20ms: still closed"}; !slices.Equal(failures, want) {
		t.Errorf("failures %q, want %q", failures, want)
	}
}

func TestLoggerIsSilentAfterTheTest(t *testing.T) {
	t.Parallel()
	fake := &fakeTest{}
	logger := Logger(fake)
	logger.Debug("during", "n", 1)
	fake.end()
	logger.Error("after")
	if len(fake.logged) != 1 || !strings.HasSuffix(fake.logged[0], "level=DEBUG msg=during n=1") {
		t.Errorf("logged %q", fake.logged)
	}
}

func TestFreePortsBelongToOneTest(t *testing.T) {
	t.Parallel()
	fake := &fakeTest{}
	ports := FreePorts(fake, 20)
	slices.Sort(ports)
	if distinct := slices.Compact(slices.Clone(ports)); len(distinct) != 20 {
		t.Errorf("%d different ports of 20", len(distinct))
	}
	if len(fake.cleanups) != 20 {
		t.Errorf("%d ports are given back", len(fake.cleanups))
	}
	fake.end()
	if len(fake.failures) > 0 {
		t.Errorf("failures %q", fake.failures)
	}
}

func TestRedisIsOneTestsOwn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	first, second := Redis(t), Redis(t)
	one, two := connect(t, first.URL), connect(t, second.URL)
	if err := one.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := two.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("the second server has %d keys (%v)", n, err)
	}
	first.Restart()
	if got, err := one.Get(ctx, "k").Result(); got != "v" || err != nil {
		t.Errorf("after the restart: %q (%v)", got, err)
	}
	first.Kill()
	first.Kill()
	if err := one.Ping(ctx).Err(); err == nil {
		t.Error("it answers after the kill")
	}
	first.Start()
	first.Start()
	if err := one.Ping(ctx).Err(); err != nil {
		t.Errorf("after the start: %v", err)
	}
}

func TestSharedRedis(t *testing.T) {
	if os.Getenv(redisVariable) != "" {
		t.Log("a shared Redis is in use; its own test needs a local one")
		t.Setenv(redisVariable, "")
	}
	ctx := context.Background()
	server := Redis(t)
	client := connect(t, server.URL)
	t.Setenv(redisVariable, server.URL)
	if err := client.Set(ctx, "left", "behind", 0).Err(); err != nil {
		t.Fatal(err)
	}

	first := &fakeTest{name: "TestFirst"}
	if failures := first.run(func(t testing.TB) {
		if got := Redis(t); got.URL != server.URL || got.Addr != server.Addr {
			t.Errorf("got %+v", got)
		}
	}); len(failures) > 0 {
		t.Fatalf("failures %q", failures)
	}
	if n, err := client.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("%d keys are left (%v)", n, err)
	}

	failures := first.run(func(t testing.TB) { Redis(t) })
	if len(failures) != 1 || !strings.HasPrefix(failures[0], "this test uses the shared Redis already and asks for a second one") {
		t.Errorf("a second use: %q", failures)
	}
	sub := &fakeTest{name: "TestFirst/sub"}
	failures = sub.run(func(t testing.TB) { takeTurn(t, server.URL, "InfluxDB") })
	sub.end()
	if len(failures) > 0 {
		t.Errorf("a subtest must share the turn of its test: %q", failures)
	}

	second := &fakeTest{name: "TestSecond"}
	got := make(chan []string)
	go func() { got <- second.run(func(t testing.TB) { Redis(t).Restart() }) }()
	select {
	case failures := <-got:
		t.Fatalf("two tests have it at once: %q", failures)
	case <-time.After(5 * lockPoll):
	}
	first.end()
	failures = <-got
	if len(failures) != 1 || !strings.HasPrefix(failures[0], "this test stops its Redis, which is not its own: run it with a local program (make setup)") {
		t.Errorf("a restart: %q", failures)
	}
	second.end()
	if keys, err := connect(t, server.URL+"/15").DBSize(ctx).Result(); keys != 0 || err != nil {
		t.Errorf("%d keys of the lock are left (%v)", keys, err)
	}

	if err := client.ConfigSet(ctx, "requirepass", "right").Err(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(redisVariable, "redis://:wrong@"+server.Addr)
	third := &fakeTest{name: "TestThird"}
	failures = third.run(func(t testing.TB) { Redis(t) })
	third.end()
	if len(failures) != 1 || !strings.HasPrefix(failures[0], "VOLTAGE_TEST_REDIS_URL: the shared Redis cannot be used: ") {
		t.Errorf("a wrong password: %q", failures)
	}
}

func TestLostTurnIsTold(t *testing.T) {
	t.Parallel()
	server := Redis(t)
	mine := &turn{client: connect(t, server.URL), holder: "somebody"}
	if err := mine.client.Set(context.Background(), lockKey, "another", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := mine.renew(context.Background()); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("error %v", err)
	}
}

func write(t *testing.T, server *InfluxServer, record string) {
	t.Helper()
	client := influxdb2.NewClient(server.URL, server.Token)
	defer client.Close()
	if err := client.WriteAPIBlocking(server.Org, server.Bucket).WriteRecord(context.Background(), record); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, server *InfluxServer) int {
	t.Helper()
	client := influxdb2.NewClient(server.URL, server.Token)
	defer client.Close()
	result, err := client.QueryAPI(server.Org).Query(context.Background(), fmt.Sprintf("from(bucket:%q) |> range(start: 0)", server.Bucket))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for result.Next() {
		n++
	}
	return n
}

func TestInfluxBucketsAreSeparate(t *testing.T) {
	t.Parallel()
	first, second := Influx(t), Influx(t)
	if first.URL != second.URL || first.Bucket == second.Bucket {
		t.Errorf("first %+v, second %+v", first, second)
	}
	write(t, first, "m f=1 1700000000000000000")
	if one, two := count(t, first), count(t, second); one != 1 || two != 0 {
		t.Errorf("%d and %d points, want 1 and 0", one, two)
	}
	failures := (&fakeTest{}).run(func(t testing.TB) {
		first.test = t
		first.Stop()
	})
	if len(failures) != 1 || !strings.HasPrefix(failures[0], "this test stops its InfluxDB, which is not its own") {
		t.Errorf("failures %q", failures)
	}
}

func TestInfluxAloneSurvivesARestart(t *testing.T) {
	t.Parallel()
	server := InfluxAlone(t)
	if server.Bucket != "ems_data/autogen" || server.Org != "voltage" || server.Token != "voltage:voltage" {
		t.Errorf("got %+v", server)
	}
	write(t, server, "m f=1 1700000000000000000")
	server.Kill()
	server.Start()
	if n := count(t, server); n != 1 {
		t.Errorf("%d points after the restart", n)
	}
}

func TestSharedInflux(t *testing.T) {
	own, lock := Influx(t), Redis(t)
	write(t, own, "m f=1 1700000000000000000")
	t.Setenv(redisVariable, lock.URL)
	for name, value := range map[string]string{influxVariable: own.URL, influxTokenVariable: own.Token, influxOrgVariable: own.Org, influxBucketVariable: own.Bucket} {
		t.Setenv(name, value)
	}
	fake := &fakeTest{name: "TestFake"}
	failures := fake.run(func(t testing.TB) {
		got := Influx(t)
		if got.URL != own.URL || got.Token != own.Token || got.Org != own.Org || got.Bucket != own.Bucket {
			t.Errorf("got %+v", got)
		}
	})
	fake.end()
	if n := count(t, own); n != 0 || len(failures) > 0 {
		t.Errorf("%d points are left; failures %q", n, failures)
	}

	t.Setenv(influxTokenVariable, "voltage:wrong")
	failures = fake.run(func(t testing.TB) { Influx(t) })
	fake.end()
	if len(failures) != 1 || !strings.HasPrefix(failures[0], "VOLTAGE_TEST_INFLUX_URL: the shared InfluxDB cannot be emptied: it answered 401") {
		t.Errorf("a wrong token: %q", failures)
	}
	t.Setenv(influxOrgVariable, "")
	fake.failures = nil
	failures = fake.run(func(t testing.TB) { Influx(t) })
	if want := []string{"VOLTAGE_TEST_INFLUX_URL is set but VOLTAGE_TEST_INFLUX_ORG is not: a shared InfluxDB needs its URL, TOKEN, ORG and BUCKET"}; !slices.Equal(failures, want) {
		t.Errorf("failures %q", failures)
	}
}

func TestContainerLibraryThatPanics(t *testing.T) {
	t.Parallel()
	err := inContainer(func(context.Context) error { panic("rootless Docker not found") })
	if err == nil || err.Error() != "rootless Docker not found" {
		t.Errorf("error %v", err)
	}
}
