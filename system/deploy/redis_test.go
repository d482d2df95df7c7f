package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/suite"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// The passwords of secrets.
const (
	servicesPassword = "testpassword"
	loaderPassword   = "testloader"
)

// startRedis runs a real Redis with redis.conf and users.acl by the command of
// compose.yaml. Only what ties it to its container is replaced. It returns
// host:port and the command.
func startRedis(t *testing.T) (address string, command []string) {
	t.Helper()
	binary, err := managed.FindRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(testkit.FreePort(t))
	folder := t.TempDir()
	file := filepath.Join(folder, "redis.conf")
	text := strings.NewReplacer("bind * -::*", "bind 127.0.0.1", "port 6379", "port "+port, "dir /data", "dir "+folder).Replace(read(t, "redis.conf"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary.Path, filepath.Join(folder, "redis-server")); err != nil {
		t.Fatal(err)
	}
	users, err := filepath.Abs("users.acl")
	if err != nil {
		t.Fatal(err)
	}
	service := project(t).Services["redis"]
	command = slices.Clone([]string(service.Command))
	for i, argument := range command {
		command[i] = strings.NewReplacer("/etc/redis.conf", file, "/etc/users.acl", users).Replace(argument)
	}
	address = "127.0.0.1:" + port
	process, err := managed.StartReady(t.Context(), ems.SystemClock{}, managed.Child{
		Name: "redis-server", ReadyWithin: 30 * time.Second,
		Probe: func(ctx context.Context, _ int) error {
			// The driver would report a closed port on standard error by itself.
			if err := managed.CheckFree([]managed.Endpoint{{Address: address}}); err == nil {
				return errors.New("nobody listens yet")
			}
			return connect(t, address, "voltage", servicesPassword).Ping(ctx).Err()
		},
		Start: func(context.Context) (*managed.Process, error) {
			return managed.StartProcess(managed.Command{
				Name: "redis-server", Path: "/bin/sh", Args: command[1:],
				Env: append(os.Environ(), append(environment(service), "PATH="+folder+":"+os.Getenv("PATH"), "LC_ALL=C")...),
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return address, command
}

func connect(t *testing.T, address, user, password string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: address, Username: user, Password: password, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestRedisTakesItsConfiguration(t *testing.T) {
	address, command := startRedis(t)
	stranger := connect(t, address, "", "")
	if err := stranger.Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without a password Redis answers %v", err)
	}
	for _, user := range []string{"default", "loader", "voltage"} {
		if err := connect(t, address, user, "wrong").Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
			t.Errorf("%s with a wrong password: %v", user, err)
		}
	}
	if slices.ContainsFunc(command, func(argument string) bool {
		return strings.Contains(argument, servicesPassword) || strings.Contains(argument, loaderPassword)
	}) {
		t.Errorf("a password is an argument: %q", command)
	}
	if text := read(t, "users.acl"); strings.ContainsAny(text, "><#") {
		t.Errorf("users.acl holds a password:\n%s", text)
	}
	// Nobody may ask for the configuration, so it is read where Redis shows it.
	info, err := connect(t, address, "voltage", servicesPassword).Info(t.Context(), "memory", "persistence", "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"maxmemory:536870912", "maxmemory_policy:noeviction", "aof_enabled:1"} {
		if !strings.Contains(info, want+"\r\n") {
			t.Errorf("Redis does not say %s:\n%s", want, info)
		}
	}
	for _, want := range []string{"appendfsync everysec", `save ""`, "hash-max-listpack-entries 64", "protected-mode yes", "busy-reply-threshold 5000"} {
		if !strings.Contains(read(t, "redis.conf"), "\n"+want+"\n") {
			t.Errorf("redis.conf lacks %s", want)
		}
	}
	// More memory than the container has would have it killed instead of refusing.
	limit := int64(project(t).Services["redis"].Deploy.Resources.Limits.MemoryBytes)
	if limit < 2*512<<20 {
		t.Errorf("the container has %d bytes for 512 MiB of data and a copy while the file is rewritten", limit)
	}
}

func openRTDB(t *testing.T, address, user, password string) *rtdb.Client {
	t.Helper()
	client, err := rtdb.Open(rtdb.Options{URL: "redis://" + user + ":" + password + "@" + address, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// The loader loads and verifies, and reaches no data.
func TestTheLoaderHasTheRightsToLoadAlone(t *testing.T) {
	address, _ := startRedis(t)
	ctx := t.Context()
	loader, bare := openRTDB(t, address, "loader", loaderPassword), connect(t, address, "loader", loaderPassword)
	if err := errors.Join(loader.Load(ctx), loader.Verify(ctx), loader.Load(ctx)); err != nil {
		t.Fatal(err)
	}
	if nodes, err := loader.Nodes(ctx); err != nil || len(nodes) != 1 || nodes[0].Err != nil {
		t.Errorf("verify: %+v, %v", nodes, err)
	}
	for _, command := range [][]any{
		{"GET", "voltage:life"}, {"SET", "a", "b"}, {"PUBLISH", "a", "b"}, {"FUNCTION", "FLUSH"}, {"FUNCTION", "DELETE", "voltage"}, {"FUNCTION", "DUMP"},
		{"CONFIG", "GET", "save"}, {"ACL", "LIST"}, {"FCALL", "alarm_get", 1, "1"}, {"EVAL", "return 1", 0}, {"KEYS", "*"},
	} {
		if err := bare.Do(ctx, command...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("the loader did %v: %v", command, err)
		}
	}
}

// The services do all that they do, and nothing that changes the library or Redis.
func TestTheServicesHaveNoRightToLoad(t *testing.T) {
	address, _ := startRedis(t)
	ctx := t.Context()
	db, bare := openRTDB(t, address, "voltage", servicesPassword), connect(t, address, "voltage", servicesPassword)
	if err := db.Verify(ctx); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "voltage functions load") {
		t.Errorf("before loading: %v", err)
	}
	err := db.Load(ctx)
	if ems.CodeOf(err) != ems.CodeDenied || !strings.Contains(err.Error(), "the redis user may not do FUNCTION LOAD") ||
		!strings.Contains(err.Error(), "run `voltage functions load` as the user loader") {
		t.Errorf("loading: %s %v", ems.CodeOf(err), err)
	}
	for _, command := range [][]any{
		{"FUNCTION", "LOAD", "#!lua name=x"}, {"FUNCTION", "FLUSH"}, {"FUNCTION", "DELETE", "voltage"}, {"FUNCTION", "RESTORE", "x"},
		{"CONFIG", "SET", "maxmemory", "1"}, {"CONFIG", "GET", "save"}, {"FLUSHALL"}, {"FLUSHDB"}, {"KEYS", "*"}, {"SHUTDOWN"},
		{"ACL", "SETUSER", "voltage", "+@all"}, {"ACL", "LIST"}, {"MONITOR"}, {"SLAVEOF", "a", "1"}, {"REPLICAOF", "a", "1"}, {"SAVE"}, {"BGREWRITEAOF"},
		{"MODULE", "LIST"}, {"CLIENT", "KILL", "TYPE", "normal"}, {"CLUSTER", "RESET"}, {"EVAL", "return 1", 0}, {"SCRIPT", "FLUSH"}, {"MIGRATE", "h", "1", "k", "0", "1"},
		{"SWAPDB", "0", "1"}, {"RESTORE", "k", "0", "x"},
	} {
		if err := bare.Do(ctx, command...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("a service did %v: %v", command, err)
		}
	}
	if err := openRTDB(t, address, "loader", loaderPassword).Load(ctx); err != nil {
		t.Fatal(err)
	}
	runServices(t, "redis://voltage:"+servicesPassword+"@"+address)
	if err := useEverything(ctx, t, db); err != nil {
		t.Error(err)
	}
}

// useEverything does what services ask of Redis, one of each kind.
func useEverything(ctx context.Context, t *testing.T, db *rtdb.Client) error {
	now, soon := time.Now(), time.Now().Add(time.Minute)
	target := ems.PointRef{Channel: 77, Type: ems.Adjustment, Point: 1}
	sample := rtdb.Batch{Channel: 77, Type: ems.Telemetry, Group: "default", Time: now, Samples: []rtdb.Sample{{Point: 1, Number: 60}}}
	rule := ems.Rule{
		ID: "rights", Name: "Rights", Conditions: []ems.Condition{{Source: "comsrv:77:T:1", Operator: ">", Value: ems.Number(50)}},
		Actions: []ems.Action{
			{Type: ems.ActionCreateAlarm, Params: map[string]any{"level": "Warning", "title": "rights"}},
			{Type: ems.ActionNotify, Params: map[string]any{"message": "rights"}},
		},
	}
	commands := db.ReadCommands("here", []ems.ChannelID{77})
	notices := db.ReadNotifications("here", []string{"here"})
	var lines []rtdb.Line
	for i, step := range []func() error{
		func() error {
			return db.ConfigureMapping(ctx, ems.HistoryMapping{ID: "rights", Source: "comsrv:77:T", Measurement: "rights"})
		},
		func() error { return db.UpsertRule(ctx, rule) },
		func() error { return db.SetStatus(ctx, 77, rtdb.ChannelStatus{Online: true, StaleAfter: time.Hour}) },
		func() error { return db.Ingest(ctx, sample, sample) },
		func() error { _, err := db.ReadPoints(ctx, 77, ems.Telemetry, []ems.PointID{1}); return err },
		func() error { return db.Mark(ctx, 77, ems.Bad) },
		func() error { _, err := commands.Next(ctx, time.Millisecond); return err },
		func() error {
			return db.SendCommand(ctx, ems.Command{ID: "rights", Target: target, Value: 1, Issued: now, Deadline: soon, Origin: "api"})
		},
		func() error {
			deliveries, err := commands.Next(ctx, time.Second)
			if err != nil || len(deliveries) != 1 {
				return fmt.Errorf("%d commands: %w", len(deliveries), err)
			}
			return errors.Join(db.BeginCommand(ctx, deliveries[0]), db.FinishCommand(ctx, deliveries[0], ems.CommandResult{State: ems.CommandDone, Time: now}))
		},
		func() error { _, err := db.AwaitCommand(ctx, 77, "rights"); return err },
		func() error { _, err := notices.Next(ctx, 0); return err },
		func() error {
			list, err := notices.Next(ctx, time.Second)
			if err != nil || len(list) < 2 {
				return fmt.Errorf("%d notifications: %w", len(list), err)
			}
			_, buried := notices.Bury(ctx, list[1], rtdb.DeadLetter{Target: "here", Notice: "x", Document: []byte("{}")})
			return errors.Join(notices.Finish(ctx, list[0]), buried)
		},
		func() error {
			letters, _, err := db.DeadLetters(ctx, "", 10)
			if err != nil || len(letters) == 0 {
				return fmt.Errorf("%d dead letters: %w", len(letters), err)
			}
			return db.RemoveDeadLetter(ctx, letters[0].ID)
		},
		func() error { _, err := db.NotificationStatus(ctx, []string{"here"}); return err },
		func() error {
			alarm, err := db.StoreAlarm(ctx, ems.NewAlarm{Source: "here", Level: "Warning", Title: "rights"})
			return errors.Join(err, db.AcknowledgeAlarm(ctx, alarm.ID, 1, "me"), db.ResolveAlarm(ctx, alarm.ID, "me"))
		},
		func() error { _, err := db.CleanUpAlarms(ctx, time.Nanosecond, 1); return err },
		func() (err error) { lines, err = db.CollectLines(ctx, "here", false, 10); return err },
		func() error { return db.FinishLines(ctx, lines) },
		func() error { return db.DeleteRule(ctx, "rights", "") },
		func() error { return db.RetainMappings(ctx, nil) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return hear(ctx, t, db, sample)
}

// hear returns when a subscription has told of an ingest.
func hear(ctx context.Context, t *testing.T, db *rtdb.Client, sample rtdb.Batch) error {
	heard := make(chan rtdb.Event, 100)
	listening, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- db.Subscribe(listening, func(event rtdb.Event) { heard <- event }) }()
	testkit.Eventually(t, 10*time.Second, func() error {
		if err := db.Ingest(ctx, sample); err != nil {
			return err
		}
		if len(heard) == 0 {
			return errors.New("nothing is heard")
		}
		return nil
	}, "the subscription hears of updates")
	stop()
	return <-ended
}

// All services run on a Redis Cluster as they do on one Redis.
func TestTheServicesRunOnACluster(t *testing.T) {
	cluster := testkit.Cluster(t)
	loader, err := rtdb.Open(rtdb.Options{URL: cluster.URL, OnlyFunctions: true, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = loader.Close() }()
	if err := loader.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	runServices(t, cluster.URL, "VOLTAGE_SITE_NAMESPACE=north")
	db, err := rtdb.Open(rtdb.Options{URL: cluster.URL, Namespace: "{north}:", Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := useEverything(t.Context(), t, db); err != nil {
		t.Error(err)
	}
	err = suite.Run(t.Context(), suite.Options{
		SiteDir: site, Targets: ems.Targets[:], Environment: []string{"VOLTAGE_REDIS_URL=" + cluster.URL}, Clock: ems.SystemClock{}, Log: io.Discard,
	})
	if err == nil || !strings.Contains(err.Error(), "write namespace: NAME under site: in site.yaml") {
		t.Errorf("a site without a namespace: %v", err)
	}
}

// runServices runs every service of the microgrid until each says that Redis and
// the functions are well. None may report an error.
func runServices(t *testing.T, url string, more ...string) {
	t.Helper()
	variables := append([]string{"VOLTAGE_REDIS_URL=" + url, "VOLTAGE_LOG_LEVEL=error"}, more...)
	ports := map[ems.Target]int{}
	for _, target := range ems.Targets {
		ports[target] = testkit.FreePort(t)
		variables = append(variables, fmt.Sprintf("%s_LISTEN=127.0.0.1:%d", strings.ToUpper(string(target)), ports[target]))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- suite.Run(ctx, suite.Options{SiteDir: site, Targets: ems.Targets[:], Environment: variables, Clock: ems.SystemClock{}, Log: testWriter{t}})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for target, port := range ports {
		testkit.Eventually(t, 30*time.Second, func() error {
			response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health/detailed", port))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil {
				return err
			}
			for _, name := range []string{"redis", "functions"} {
				if !strings.Contains(string(text), `"`+name+`":{"status":"healthy"`) {
					return fmt.Errorf("%s is not well: %s", name, text)
				}
			}
			return nil
		}, string(target)+" is content with Redis")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Errorf("a service reports: %s", line)
	return len(line), nil
}
