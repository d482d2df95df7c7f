package rtdb_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

// lineOf returns file:line of the only line of a source file that holds a text.
func lineOf(t *testing.T, file, text string) string {
	t.Helper()
	source, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for i, line := range strings.Split(string(source), "\n") {
		if strings.Contains(line, text) {
			if found != "" {
				t.Fatalf("%s holds %q twice", file, text)
			}
			found = file + ":" + strconv.Itoa(i+1)
		}
	}
	if found == "" {
		t.Fatalf("%s does not hold %q", file, text)
	}
	return found
}

// A fault that no check can foresee names the line of the source where it
// happened: that of a call of Redis that failed, and that of a mistake in Lua.
func TestAFaultOfTheLibraryNamesItsLine(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for key, value := range map[string]string{"alarmsrv:alarm:7": "text", "rulesrv:version": "1-1"} {
		if err := b.raw.Set(b.ctx, key, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Alarm(b.ctx, "7")
	want := "alarm_get failed in redis: ERR " + lineOf(t, "lua/shared/alarm.lua", "local pairs_read, first = redis.call('HGETALL'") + ": WRONGTYPE Operation against a key holding the wrong kind of value"
	if ems.CodeOf(err) != ems.CodeInternal || err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// A rule that was never checked, because it was not stored by the library.
	if err := b.raw.HSet(b.ctx, "rulesrv:rule:odd", "config", `{"id":"odd","conditions":[{"source":"custom:x","operator":"between","value":5}]}`, "enabled", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.raw.HSet(b.ctx, "rulesrv:custom", "x", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_, err = b.EvaluateRule(b.ctx, "odd")
	want = "rule_evaluate failed in redis: ERR " + lineOf(t, "lua/shared/rule_condition.lua", "if operator == 'between' then return function") + ": attempt to index upvalue 'value' (a number value)"
	if ems.CodeOf(err) != ems.CodeInternal || err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
