package rtdb_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// clusterOfOne listens as a cluster of a single master. It answers what the
// driver asks for, counts the commands named and answers them with what answer
// returns for the how manieth it is; empty breaks the connection instead.
func clusterOfOne(t *testing.T, answer func(number int64) string, names ...string) (url string, sent *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	sent = &atomic.Int64{}
	port := listener.Addr().(*net.TCPAddr).Port
	reply := func(command []string) string {
		name := strings.ToUpper(command[0])
		for _, counted := range names {
			if name == counted {
				return answer(sent.Add(1))
			}
		}
		if name == "CLUSTER" {
			return fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$2\r\nme", port)
		}
		return "-ERR unknown command '" + name + "'"
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				reader := bufio.NewReader(connection)
				for {
					command, err := readCommand(reader)
					if err != nil {
						return
					}
					text := reply(command)
					if text == "" {
						return
					}
					if _, err := io.WriteString(connection, text+"\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis+cluster://" + listener.Addr().String(), sent
}

// On a cluster the driver sends a command again after the connection broke, when
// it may have been executed. This client does not.
func TestACallThatMayHaveBeenExecutedIsNotSentAgain(t *testing.T) {
	t.Parallel()
	broken := func(int64) string { return "" }
	url, sent := clusterOfOne(t, broken, "FCALL")
	driver := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{strings.TrimPrefix(url, "redis+cluster://")}, DisableRoutingPolicies: true})
	defer driver.Close()
	if err := driver.FCall(t.Context(), "comsrv_mark", []string{"{a}:1001"}).Err(); err == nil || sent.Load() < 2 {
		t.Errorf("the driver alone sent the call %d times (%v): then there is nothing to guard against", sent.Load(), err)
	}
	for what, test := range map[string]struct {
		command string
		call    func(c *rtdb.Client) error
	}{
		"one call": {"FCALL", func(c *rtdb.Client) error { return c.Mark(t.Context(), 1001, ems.Bad) }},
		"many calls": {"FCALL", func(c *rtdb.Client) error {
			return c.Ingest(t.Context(), rtdb.Batch{Channel: 1}, rtdb.Batch{Channel: 1})
		}},
		"a command of Redis": {"XACK", func(c *rtdb.Client) error {
			return c.ReadNotifications("me", []string{"me"}).Finish(t.Context(), rtdb.Notice{ID: "alarmsrv:1-1"})
		}},
		"a transaction": {"MULTI", func(c *rtdb.Client) error {
			_, err := c.ReadNotifications("me", []string{"me"}).Bury(t.Context(), rtdb.Notice{ID: "rulesrv:1-1"}, rtdb.DeadLetter{})
			return err
		}},
	} {
		url, sent := clusterOfOne(t, broken, test.command)
		err := test.call(open(t, rtdb.Options{URL: url, Namespace: "{a}:"}))
		if ems.CodeOf(err) != ems.CodeUnavailable || sent.Load() != 1 {
			t.Errorf("%s: sent %d times, want 1: %v", what, sent.Load(), err)
		}
	}
}

// What a cluster refuses before it executes it is asked for again.
func TestARefusalWhileASlotMovesIsRiddenOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		refusal string
		times   int64 // that it is refused
		sent    int64 // how often it is sent; 0 is often
		code    ems.Code
		want    string
	}{
		{"TRYAGAIN Multiple keys request during rehashing of slot", 3, 4, "", ""},
		{"CLUSTERDOWN Hash slot not served", 3, 4, "", ""},
		{"TRYAGAIN Multiple keys request during rehashing of slot", 1 << 40, 0, ems.CodeUnavailable, "redis is moving the slot of the site to another master and cannot serve comsrv_mark now: TRYAGAIN"},
		{"CLUSTERDOWN Hash slot not served", 1 << 40, 0, ems.CodeUnavailable, "redis cannot serve comsrv_mark now: CLUSTERDOWN"},
		{"LOADING Redis is loading the dataset in memory", 1, 1, ems.CodeUnavailable, "redis cannot serve comsrv_mark now: LOADING"},
		{"CONFLICT begun before", 1, 1, ems.CodeConflict, "begun before"},
	} {
		url, sent := clusterOfOne(t, func(number int64) string {
			if number > test.times {
				return ":1"
			}
			return "-" + test.refusal
		}, "FCALL")
		client := open(t, rtdb.Options{URL: url, Namespace: "{a}:"})
		began := time.Now()
		err := client.Mark(t.Context(), 1001, ems.Bad)
		took := time.Since(began)
		if test.code == "" && err != nil || test.code != "" && (ems.CodeOf(err) != test.code || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("%s, %d times: %v", test.refusal, test.times, err)
		}
		if test.sent > 0 && sent.Load() != test.sent {
			t.Errorf("%s, %d times: sent %d times, want %d", test.refusal, test.times, sent.Load(), test.sent)
		}
		if test.sent == 0 && (took < time.Second || took > 30*time.Second || sent.Load() < 10) {
			t.Errorf("%s: given up after %v and %d attempts", test.refusal, took, sent.Load())
		}
	}
	// The context of the call comes first, and its end says what was waited for.
	url, _ := clusterOfOne(t, func(number int64) string {
		if number == 1 { // it is asked once so that the connection is there when the time runs
			return ":1"
		}
		return "-TRYAGAIN Multiple keys request during rehashing of slot"
	}, "FCALL")
	client := open(t, rtdb.Options{URL: url, Namespace: "{a}:"})
	if err := client.Mark(t.Context(), 1001, ems.Bad); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := client.Mark(short, 1001, ems.Bad); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "is moving the slot") {
		t.Errorf("a short context: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := client.Mark(canceled, 1001, ems.Bad); err == nil || err.Error() != "context canceled" {
		t.Errorf("a canceled context: %v", err)
	}
}

func TestTheURLOfAClusterIsChecked(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis+cluster://h:1", "redis+cluster://h:1,[::1]:2,h3:3/", "redis+cluster://u:p%40,@h:1,i:2", "rediss+cluster://:p@h:1"} {
		client, err := rtdb.Open(rtdb.Options{URL: url, Namespace: "{a}:", Clock: ems.SystemClock{}})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		_ = client.Close()
	}
	for url, want := range map[string]string{
		"redis+cluster://":                     "node 1 of the cluster is not of the form host:port",
		"redis+cluster://h:1,i":                "node 2 of the cluster is not of the form host:port",
		"redis+cluster://h:1,i:0":              "node 2 of the cluster is not of the form host:port",
		"redis+cluster://h:1/3":                "nothing may follow the nodes, as a cluster has no numbered databases",
		"redis+cluster://u:s3cret/x@h:1":       "nothing may follow the nodes",
		"redis+cluster://u:s3cret%zz@h:1":      "it is not a URL",
		"redis+cluster://:s3cret@h:s3cret":     "node 1 of the cluster",
		"http+cluster://u:s3cret@h:1":          "it is not a URL",
		"redis+sentinel://:s3cret@h:1":         "redis_url cannot be used",
		"redis+cluster://u:s3cret@h:1,s3cret,": "node 2 of the cluster",
	} {
		_, err := rtdb.Open(rtdb.Options{URL: url, Namespace: "{a}:"})
		if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") ||
			!strings.Contains(err.Error(), "for a cluster redis+cluster://[user:password@]host:port[,host:port…]") {
			t.Errorf("%s: %v\nwant: %s", url, err, want)
		}
	}
	_, err := rtdb.Open(rtdb.Options{URL: "redis+cluster://h:1"})
	if ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "write namespace: NAME under site: in site.yaml") {
		t.Errorf("no namespace: %v", err)
	}
}

// All calls go through one place, which alone knows what a cluster needs.
func TestFunctionsAreCalledFromOnePlace(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if calls := strings.Count(string(text), ".FCall"); calls > 0 && !strings.HasSuffix(file, "_test.go") {
			found[file] = calls
		}
	}
	// The version belongs to a Redis, not to a site: it is asked for without a key.
	expect(t, "the calls", found, map[string]int{"client.go": 1, "library.go": 1})
}
