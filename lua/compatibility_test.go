package lua_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/lua"
)

const contractFile = "contract.golden"

// contract is what callers of the library rely on: each name with what it takes
// and answers, under the version that promised it.
type contract struct {
	version   string
	functions map[string]string
}

func contractOf(library *lua.Library) contract {
	c := contract{version: lua.Version, functions: map[string]string{}}
	for _, function := range library.Functions {
		var codes []string
		for _, refusal := range function.Errors {
			codes = append(codes, refusal.Code)
		}
		c.functions[function.Name] = fmt.Sprintf("  KEYS   %s\n  ARGV   %s\n  reply  %s\n  errors %s\n  flags  %s\n",
			function.Keys, function.Args, function.Reply, strings.Join(codes, " "), strings.Join(function.Flags, " "))
		for _, alias := range function.Aliases {
			c.functions[alias] = "  is     " + function.Name + "\n"
		}
	}
	return c
}

func (c contract) String() string {
	text := "version " + c.version + "\n"
	for _, name := range slices.Sorted(maps.Keys(c.functions)) {
		text += name + "\n" + c.functions[name]
	}
	return text
}

func parseContract(text string) contract {
	first, rest, _ := strings.Cut(text, "\n")
	c := contract{version: strings.TrimPrefix(first, "version "), functions: map[string]string{}}
	name := ""
	for line := range strings.Lines(rest) {
		if strings.HasPrefix(line, " ") {
			c.functions[name] += line
		} else {
			name = strings.TrimSpace(line)
		}
	}
	return c
}

// compare says what a new contract asks for, given the one before: nothing where
// they are the same.
func (c contract) compare(before contract) error {
	var broken, added []string
	for name, text := range before.functions {
		if c.functions[name] != text {
			broken = append(broken, name)
		}
	}
	for name := range c.functions {
		if _, known := before.functions[name]; !known {
			added = append(added, name)
		}
	}
	slices.Sort(broken)
	slices.Sort(added)
	number := func(version string, part int) int {
		n, _ := strconv.Atoi(strings.Split(version+".0", ".")[part])
		return n
	}
	major := number(c.version, 0) > number(before.version, 0)
	minor := number(c.version, 0) == number(before.version, 0) && number(c.version, 1) > number(before.version, 1)
	const record = "record it with `go test -count=1 -run TestTheContract ./lua -update`"
	switch {
	case c.String() == before.String():
		return nil
	case c.version == before.version:
		return fmt.Errorf("the contract of version %s is another now (changed or removed: %v; added: %v): if %s was released, raise in lua/library.go "+
			"the first number of Version where something was changed or removed, else the second; then, or if %s was not released yet, "+record,
			before.version, broken, added, before.version, before.version)
	case !major && (!minor || len(broken) > 0):
		return fmt.Errorf("version %s after %s would break a caller of %v: raise the first number of Version in lua/library.go", c.version, before.version, broken)
	}
	return fmt.Errorf("version %s is not recorded in lua/%s: %s", c.version, contractFile, record)
}

// A service works beside a newer library to which only was added. That holds as
// long as nothing that callers rely on changes without a new version.
func TestTheContractChangesWithItsVersion(t *testing.T) {
	now := contractOf(assemble(t))
	text, err := os.ReadFile(contractFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	before := parseContract(string(text))
	if *update {
		err := now.compare(before)
		if err != nil && strings.Contains(err.Error(), "would break") && len(before.functions) > 0 {
			t.Fatal(err)
		}
		if err := os.WriteFile(contractFile, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := now.compare(before); err != nil {
		t.Error(err)
	}
}

func TestAChangeOfTheContractAsksForItsVersion(t *testing.T) {
	before := contract{"2.1", map[string]string{"get": "  ARGV   none\n", "put": "  ARGV   text\n"}}
	if again := parseContract(before.String()); again.String() != before.String() {
		t.Errorf("written and read it is %s", again)
	}
	added := map[string]string{"get": "  ARGV   none\n", "put": "  ARGV   text\n", "drop": "  ARGV   none\n"}
	changed := map[string]string{"get": "  ARGV   none\n", "put": "  ARGV   text, time\n"}
	for _, test := range []struct {
		after contract
		want  string
	}{
		{before, ""},
		{contract{"2.1", added}, "the contract of version 2.1 is another now (changed or removed: []; added: [drop])"},
		{contract{"2.1", changed}, "the contract of version 2.1 is another now (changed or removed: [put]; added: [])"},
		{contract{"2.2", added}, "version 2.2 is not recorded"},
		{contract{"2.0", added}, "version 2.0 after 2.1 would break a caller of []"},
		{contract{"2.2", changed}, "version 2.2 after 2.1 would break a caller of [put]: raise the first number"},
		{contract{"2.2", map[string]string{"get": "  ARGV   none\n"}}, "version 2.2 after 2.1 would break a caller of [put]"},
		{contract{"3.0", changed}, "version 3.0 is not recorded"},
		{contract{"10.0", changed}, "version 10.0 is not recorded"},
	} {
		err := test.after.compare(before)
		if (test.want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s %v: %v\nwant %s", test.after.version, test.after.functions, err, test.want)
		}
	}
}
