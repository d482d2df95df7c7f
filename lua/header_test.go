package lua

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

const soundHeader = `-- queue_take: take what waits
-- alias  take_queue old_take
-- KEYS   [{site}:]queue
-- ARGV   how many,
--   then more
-- reply  entries
-- errors INVALID, CONFLICT (taken, or gone), FULL
-- keys   queue:{id} w, queue:{id}:names r, queues:all r, as queue_list,
--   as queue_count
-- flags  allow-oom
local function queue_take(keys, args)
end
`

func TestAHeaderIsRead(t *testing.T) {
	function, err := parseHeader("queue/queue_take.lua", soundHeader)
	if err != nil {
		t.Fatal(err)
	}
	want := Function{
		Name: "queue_take", Aliases: []string{"take_queue", "old_take"}, Summary: "take what waits", File: "queue/queue_take.lua",
		Keys: "[{site}:]queue", Args: "how many, then more", Reply: "entries",
		Errors:  []Refusal{{Code: "INVALID"}, {Code: "CONFLICT", When: "taken, or gone"}, {Code: "FULL"}},
		Touches: []Access{{Pattern: "queue:{id}", Write: true}, {Pattern: "queue:{id}:names"}, {Pattern: "queues:all"}},
		Flags:   []string{"allow-oom"}, As: []string{"queue_list", "queue_count"},
	}
	if !reflect.DeepEqual(function, want) {
		t.Errorf("got  %+v\nwant %+v", function, want)
	}
}

func TestABadHeaderIsRefusedWithItsPlace(t *testing.T) {
	for _, fault := range []struct{ from, to, want string }{
		{"-- queue_take: take what waits", "-- queue_give: give", ":1: the first line must read"},
		{"-- queue_take: take what waits", "-- queue_take: ", ":1: the first line must read"},
		{"old_take\n", "old-take\n", `:2: alias: "old-take" is no name`},
		{"old_take\n", "queue_take\n", ":2: alias: queue_take is given twice"},
		{"take_queue old_take", "", `the header lacks a line "-- alias …"`},
		{"-- reply  entries\n", "", `the header lacks a line "-- reply …"`},
		{"-- reply  entries\n", "-- reply\n", `the header lacks a line "-- reply …"`},
		{"-- reply ", "-- replies ", `:6: unknown field "replies": a header holds alias, KEYS`},
		{"-- reply  entries\n", "-- reply  entries\n--\n", `:7: unknown field ""`},
		{"-- reply  entries\n", "-- KEYS   other\n", ":6: KEYS is given twice, first in line 3"},
		{"INVALID,", "WRONG,", ":7: errors: unknown code WRONG: use INVALID, NOT_FOUND,"},
		{"INVALID,", "INVALID;", ":7: errors: "},
		{"FULL\n", "FULL,\n", ":7: errors: "},
		{"FULL\n", "INVALID\n", ":7: errors: INVALID is given twice"},
		{"(taken, or gone)", "(taken", ":7: errors: "},
		{"queue:{id} w", "queue:{id} x", `:8: keys: "queue:{id} x" is neither`},
		{"queue:{id} w", "queue:{id}", `:8: keys: "queue:{id}" is neither`},
		{"queue:{id} w", "queue:* w", `:8: keys: "queue:* w" is neither`},
		{"queue:{id} w", "queue w", `:8: keys: "queue w" is neither`},
		{"queue:{id} w", "queue:{id w", `:8: keys: "queue:{id w" is neither`},
		{"queue:{id} w", "queue:{id} w r", `:8: keys: "queue:{id} w r" is neither`},
		{"queues:all r", "queue:{id} r", ":8: keys: queue:{id} is given twice"},
		{"queues:all r", "and what queue_list touches", `:8: keys: "and what queue_list touches" is neither`},
		{"as queue_count", "as queue_list", `:8: keys: "as queue_list" names no function, or one twice`},
		{"as queue_count", "as Queue", `:8: keys: "as Queue" names no function`},
		{"allow-oom", "allow-everything", `:10: flags: unknown flag "allow-everything": use none, or any of no-writes, allow-oom`},
		{"allow-oom", "allow-oom allow-oom", ":10: flags: allow-oom is given twice"},
		{"local function queue_take(", "local function queue_give(", `defines no "local function queue_take(keys, args)"`},
	} {
		source := strings.Replace(soundHeader, fault.from, fault.to, 1)
		if source == soundHeader {
			t.Fatalf("%q is not in the header", fault.from)
		}
		_, err := parseHeader("queue/queue_take.lua", source)
		if err == nil || !strings.HasPrefix(err.Error(), "lua/queue/queue_take.lua:") || !strings.Contains(err.Error(), fault.want) {
			t.Errorf("with %q: got %v\nwant …%s…", fault.to, err, fault.want)
		}
	}
	if _, err := parseHeader("queue/Queue-take.lua", soundHeader); err == nil || !strings.Contains(err.Error(), `"Queue-take" is no name for a function`) {
		t.Errorf("a bad file name: %v", err)
	}
}

func TestKeysOfOtherFunctionsAreIncluded(t *testing.T) {
	read := func(pattern string) Access { return Access{Pattern: pattern} }
	write := func(pattern string) Access { return Access{Pattern: pattern, Write: true} }
	functions := []Function{
		{Name: "a", Touches: []Access{read("x:a"), read("x:b")}, As: []string{"b"}},
		{Name: "b", Touches: []Access{write("x:b")}, As: []string{"c", "a"}}, // a circle is no fault: the keys are a set
		{Name: "c", Touches: []Access{read("x:c")}, Flags: []string{"no-writes"}},
	}
	if err := include(functions); err != nil {
		t.Fatal(err)
	}
	want := []Access{read("x:a"), write("x:b"), {Pattern: "x:c", As: "c"}}
	if !reflect.DeepEqual(functions[0].Touches, want) {
		t.Errorf("got  %+v\nwant %+v", functions[0].Touches, want)
	}
	for _, fault := range []struct {
		functions []Function
		want      string
	}{
		{[]Function{{Name: "a", File: "a.lua", As: []string{"none"}}}, `lua/a.lua: keys: "as none" names no other function`},
		{[]Function{{Name: "a", File: "a.lua", As: []string{"a"}}}, `lua/a.lua: keys: "as a" names no other function`},
		{[]Function{{Name: "a", File: "a.lua", Touches: []Access{write("x:a")}, Flags: []string{"no-writes"}}}, "lua/a.lua: keys: the flag no-writes contradicts"},
		{[]Function{
			{Name: "a", File: "a.lua", Touches: []Access{read("x:a")}, Flags: []string{"no-writes"}, As: []string{"b"}},
			{Name: "b", File: "b.lua", Touches: []Access{write("x:b")}},
		}, "lua/a.lua: keys: the flag no-writes contradicts"},
		{[]Function{{Name: "a", File: "a.lua", Touches: []Access{read("x:a")}}}, "lua/a.lua: flags: no key is written"},
		{[]Function{{Name: "a", File: "a.lua"}}, "lua/a.lua: flags: no key is written"},
	} {
		if err := include(fault.functions); err == nil || !strings.HasPrefix(err.Error(), fault.want) {
			t.Errorf("got %v\nwant %s…", err, fault.want)
		}
	}
}

// written is the canonical text of a header.
func written(f Function) string {
	text := "-- " + f.Name + ": " + f.Summary + "\n"
	if len(f.Aliases) > 0 {
		text += "-- alias " + strings.Join(f.Aliases, " ") + "\n"
	}
	var refusals, keys []string
	for _, refusal := range f.Errors {
		if refusal.When != "" {
			refusal.Code += " (" + refusal.When + ")"
		}
		refusals = append(refusals, refusal.Code)
	}
	for _, access := range f.Touches {
		keys = append(keys, access.Pattern+map[bool]string{true: " w", false: " r"}[access.Write])
	}
	for _, name := range f.As {
		keys = append(keys, "as "+name)
	}
	if len(keys) == 0 {
		keys = []string{"none"}
	}
	flags := strings.Join(f.Flags, " ")
	if flags == "" {
		flags = "none"
	}
	return text + fmt.Sprintf("-- KEYS %s\n-- ARGV %s\n-- reply %s\n-- errors %s\n-- keys %s\n-- flags %s\nlocal function %s(keys, args)\n",
		f.Keys, f.Args, f.Reply, strings.Join(refusals, ", "), strings.Join(keys, ", "), flags, f.Name)
}

// Whatever stands in a file, it is refused with its name, or says the same again
// when it is written anew.
func FuzzHeader(f *testing.F) {
	f.Add(soundHeader)
	f.Add(strings.Replace(soundHeader, "-- alias  take_queue old_take\n", "", 1))
	f.Add(strings.Replace(soundHeader, "allow-oom", "none", 1))
	f.Add("-- queue_take: x\n--   continues nothing\n")
	f.Add("-- queue_take: x\n-- KEYS\n--   a\n-- ARGV b\n-- reply c\n-- errors FULL (a)\n-- keys none\n-- flags no-writes allow-oom\nlocal function queue_take(")
	f.Fuzz(func(t *testing.T, source string) {
		function, err := parseHeader("queue/queue_take.lua", source)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "lua/queue/queue_take.lua:") {
				t.Errorf("the error names no file: %v", err)
			}
			return
		}
		again, err := parseHeader("queue/queue_take.lua", written(function))
		if err != nil || !reflect.DeepEqual(again, function) {
			t.Errorf("got  %+v\nthen %+v, %v", function, again, err)
		}
	})
}
