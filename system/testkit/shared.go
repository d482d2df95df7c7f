package testkit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The environment's names of shared servers.
const (
	redisVariable        = "VOLTAGE_TEST_REDIS_URL"
	influxVariable       = "VOLTAGE_TEST_INFLUX_URL"
	influxTokenVariable  = "VOLTAGE_TEST_INFLUX_TOKEN"
	influxOrgVariable    = "VOLTAGE_TEST_INFLUX_ORG"
	influxBucketVariable = "VOLTAGE_TEST_INFLUX_BUCKET"
)

// The lock lives in a database of its own, where no test looks and where a
// flush of the others does not reach.
const (
	lockDatabase = 15
	lockKey      = "voltage:testkit:lock"
	lockUses     = "voltage:testkit:uses"
	lockLife     = 30 * time.Second // without renewal
	lockRenewal  = 5 * time.Second
	lockPoll     = 20 * time.Millisecond
	longestTurn  = 10 * time.Minute // of waiting
	answerWithin = 10 * time.Second
)

// renewScript and releaseScript touch the lock only while it is still ours.
const (
	renewScript   = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0`
	releaseScript = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1], KEYS[2]) end return 0`
)

func sharedRedis(t testing.TB, address string) *RedisServer {
	t.Helper()
	takeTurn(t, address, "Redis")
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatalf("%s: %v", redisVariable, err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if err := errors.Join(client.FlushDB(ctx).Err(), client.FunctionFlush(ctx).Err()); err != nil {
		t.Fatalf("%s: the shared Redis cannot be emptied: %v", redisVariable, err)
	}
	return redisOfURL(t, address)
}

func sharedInflux(t testing.TB) *InfluxServer {
	t.Helper()
	shared := &InfluxServer{test: t}
	for name, into := range map[string]*string{
		influxVariable: &shared.URL, influxTokenVariable: &shared.Token,
		influxOrgVariable: &shared.Org, influxBucketVariable: &shared.Bucket,
	} {
		if *into = os.Getenv(name); *into == "" {
			t.Fatalf("%s is set but %s is not: a shared InfluxDB needs its URL, TOKEN, ORG and BUCKET", influxVariable, name)
		}
	}
	address := os.Getenv(redisVariable)
	if address == "" {
		t.Fatalf("%s is set but %s is not: tests take turns on the shared InfluxDB under a lock in the shared Redis", influxVariable, redisVariable)
	}
	takeTurn(t, address, "InfluxDB")
	if err := emptyBucket(shared); err != nil {
		t.Fatalf("%s: the shared InfluxDB cannot be emptied: %v", influxVariable, err)
	}
	return shared
}

// turn is the right of one test, and of its subtests, to the shared servers.
type turn struct {
	client *redis.Client
	holder string
}

// takeTurn waits until the test may use the shared servers. The turn ends with
// the test.
func takeTurn(t testing.TB, address, what string) {
	t.Helper()
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatalf("%s: %v", redisVariable, err)
	}
	options.DB = lockDatabase
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	mine := &turn{client: redis.NewClient(options), holder: fmt.Sprintf("%s:%d:%s", host, os.Getpid(), t.Name())}
	t.Cleanup(func() { _ = mine.client.Close() })
	mine.checkVersion(t)
	if mine.acquire(t) {
		mine.keep(t)
	}
	added, err := mine.client.SAdd(context.Background(), lockUses, what).Result()
	if err != nil {
		t.Fatalf("%s: %v", redisVariable, err)
	}
	if added == 0 {
		t.Fatalf("this test uses the shared %s already and asks for a second one: run it without %s and %s", what, redisVariable, influxVariable)
	}
	t.Cleanup(func() {
		if err := mine.client.SRem(context.Background(), lockUses, what).Err(); err != nil {
			t.Errorf("%s: %v", redisVariable, err)
		}
	})
}

func (m *turn) checkVersion(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	info, err := m.client.InfoMap(ctx, "server").Result()
	if err != nil {
		t.Fatalf("%s: the shared Redis cannot be used: %v", redisVariable, err)
	}
	version := info["Server"]["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if number, err := strconv.Atoi(major); err != nil || number < 7 {
		t.Fatalf("%s: the shared Redis is version %s, which has no functions: use 7 or newer", redisVariable, version)
	}
}

// acquire returns false where a parent of this test holds the turn already.
func (m *turn) acquire(t testing.TB) bool {
	t.Helper()
	ctx := context.Background()
	deadline := time.Now().Add(longestTurn)
	for {
		won, err := m.client.SetNX(ctx, lockKey, m.holder, lockLife).Result()
		if err != nil {
			t.Fatalf("%s: %v", redisVariable, err)
		}
		if won {
			if err := m.client.Del(ctx, lockUses).Err(); err != nil {
				t.Fatalf("%s: %v", redisVariable, err)
			}
			return true
		}
		holder, err := m.client.Get(ctx, lockKey).Result()
		switch {
		case err != nil && !errors.Is(err, redis.Nil):
			t.Fatalf("%s: %v", redisVariable, err)
		case err == nil && (holder == m.holder || strings.HasPrefix(m.holder, holder+"/")):
			return false
		case time.Now().After(deadline):
			t.Fatalf("%s: waited %v for the shared servers, which %s holds", redisVariable, longestTurn, holder)
		}
		time.Sleep(lockPoll)
	}
}

// keep renews the turn until the test ends, and gives it back then.
func (m *turn) keep(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.renew(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: the turn on the shared servers was lost: %v", redisVariable, err)
		}
		if err := m.client.Eval(context.Background(), releaseScript, []string{lockKey, lockUses}, m.holder).Err(); err != nil {
			t.Errorf("%s: %v", redisVariable, err)
		}
	})
}

func (m *turn) renew(ctx context.Context) error {
	tick := time.NewTicker(lockRenewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		kept, err := m.client.Eval(ctx, renewScript, []string{lockKey}, m.holder, lockLife.Milliseconds()).Int()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case kept == 0:
			return ems.Errorf(ems.CodeConflict, "another test took it")
		}
	}
}

// emptyBucket deletes all data: by the interface of version 2, and where there
// is none by that of version 1.8.
func emptyBucket(server *InfluxServer) error {
	query := url.Values{"org": {server.Org}, "bucket": {server.Bucket}}.Encode()
	everything := `{"start":"1677-09-22T00:00:00Z","stop":"2262-04-11T00:00:00Z"}`
	status, said, err := post(server.URL+"/api/v2/delete?"+query, "application/json", "Token "+server.Token, everything)
	if err != nil || status == http.StatusNoContent {
		return err
	}
	if status != http.StatusNotFound {
		return ems.Errorf(ems.CodeUnavailable, "it answered %d: %s", status, said)
	}
	database, _, _ := strings.Cut(server.Bucket, "/")
	form := url.Values{"db": {database}, "q": {"DROP SERIES FROM /.*/"}}.Encode()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(server.Token))
	status, said, err = post(server.URL+"/query", "application/x-www-form-urlencoded", basic, form)
	if err == nil && (status != http.StatusOK || strings.Contains(said, `"error"`)) {
		err = ems.Errorf(ems.CodeUnavailable, "it answered %d: %s", status, said)
	}
	return err
}

func post(address, contentType, authorization, body string) (status int, said string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Authorization", authorization)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	return response.StatusCode, strings.TrimSpace(string(text)), err
}
