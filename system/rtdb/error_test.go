package rtdb_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// speaking listens as a server that answers every command with what answer
// returns, in the protocol of Redis: for states that a real one cannot be put
// into. It returns its URL.
func speaking(t *testing.T, answer func(command []string) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
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
					if _, err := io.WriteString(connection, answer(command)+"\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + listener.Addr().String()
}

// readCommand reads "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n".
func readCommand(reader *bufio.Reader) ([]string, error) {
	line := func() (string, error) {
		text, err := reader.ReadString('\n')
		return strings.TrimSpace(text), err
	}
	header, err := line()
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(header, "*"))
	if err != nil {
		return nil, err
	}
	command := make([]string, count)
	for i := range command {
		if _, err := line(); err != nil {
			return nil, err
		}
		if command[i], err = line(); err != nil {
			return nil, err
		}
	}
	return command, nil
}

func TestWhatRedisRefusesForNowIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"NOREPLICAS Not enough good replicas to write.",
		"ERR max number of clients reached",
		"LOADING Redis is loading the dataset in memory",
	} {
		url := speaking(t, func([]string) string { return "-" + text })
		client, err := rtdb.Open(rtdb.Options{URL: url, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Model(t.Context(), "m")
		if ems.CodeOf(err) != ems.CodeUnavailable || !contains(err.Error(), text) {
			t.Errorf("%s: %s %v", text, ems.CodeOf(err), err)
		}
		_ = client.Close()
	}
}

func TestAWriteWithoutReplicasIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	if err := b.raw.ConfigSet(b.ctx, "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.UpsertRule(b.ctx, hot()); ems.CodeOf(err) != ems.CodeUnavailable {
		t.Errorf("%s %v", ems.CodeOf(err), err)
	}
	if err := b.raw.ConfigSet(b.ctx, "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
}

// TestNoPartOfAPasswordIsTold, however the URL is malformed.
func TestNoPartOfAPasswordIsTold(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://user:s3cret@h:1", "redis://:pa%zzs3cret@h:1", "redis://:s3cret%zz@h:1", "redis://user:s3cret", "user:s3cret@h:1",
		"redis:user:s3cret@h:1", "redis:/:s3cret@h:1", "redis://:1/s3cret@h:1", "redis://:1/2/s3cret@h:1", "redis://:1?s3cret@h:1",
		"redis://:1#s3cret@h:1/x", "redis://u:s3cret@h:1/x", "redis://u:s3cret@h:port", "redis://u:s3cret @h:1", "redis://u:s3cret\x7f@h:1",
		"redis://u:12[s3cret@h:1", "redis://u:x@h:1/s3cret@h", "unix://u:s3cret@", "://u:s3cret@h",
	} {
		client, err := rtdb.Open(rtdb.Options{URL: url, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
		if err == nil {
			_ = client.Close() // some the driver can use
			continue
		}
		for _, part := range []string{"s3", "cret", "%zz"} {
			if ems.CodeOf(err) != ems.CodeInvalid || contains(err.Error(), part) || contains(fmt.Sprintf("%+v", err), part) {
				t.Errorf("%s is told as %v", url, err)
			}
		}
	}
	_, err := rtdb.Open(rtdb.Options{URL: "redis://h:1/seven"})
	if err == nil || !contains(err.Error(), `invalid database number: "seven"`) {
		t.Errorf("a fault beside the password: %v", err)
	}
}

func TestAStoreThatFailsNamesWhatItStored(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	rule := hot()
	rule.Conditions = nil
	for want, err := range map[string]error{
		"rule " + rule.ID + ": ": b.UpsertRule(b.ctx, rule),
		"model m/1: ":            b.UpsertModel(b.ctx, ems.Model{ID: "m/1"}),
		"template t/1: ":         b.UpsertTemplate(b.ctx, ems.Template{ID: "t/1"}),
		"history mapping h/1: ":  b.ConfigureMapping(b.ctx, ems.HistoryMapping{ID: "h/1"}),
	} {
		if ems.CodeOf(err) != ems.CodeInvalid || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}
