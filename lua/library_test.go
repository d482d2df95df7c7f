package lua_test

import (
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/lua"
)

func assemble(t *testing.T) *lua.Library {
	t.Helper()
	library, err := lua.Assemble()
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func TestAssemblyIsTheSameEveryTime(t *testing.T) {
	first, second := assemble(t), assemble(t)
	if first.Code != second.Code || first.Hash != second.Hash || len(first.Hash) != 12 {
		t.Errorf("hashes %s and %s", first.Hash, second.Hash)
	}
	if !strings.HasPrefix(first.Code, "#!lua name=voltage\n") {
		t.Errorf("the library begins with %.40q", first.Code)
	}
}

func TestEveryLineLeadsToItsSource(t *testing.T) {
	library := assemble(t)
	found := map[string]bool{}
	for number, line := range strings.Split(library.Code, "\n") {
		for _, function := range library.Functions {
			if strings.HasPrefix(line, "-- "+function.Name+": ") {
				if at := library.Source(number + 1); at != "lua/"+function.File+":1" {
					t.Errorf("line %d of %s leads to %s", number+1, function.Name, at)
				}
				found[function.Name] = true
			}
		}
	}
	if len(found) != len(library.Functions) {
		t.Errorf("%d of %d headers were found", len(found), len(library.Functions))
	}
	if at := library.Source(1); at != "assembled library:1" {
		t.Errorf("the first line leads to %s", at)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]string{"voltage_version": ""}
	for _, function := range assemble(t).Functions {
		for _, name := range function.Names() {
			if first, twice := seen[name]; twice {
				t.Errorf("%s is registered by %s and %s", name, first, function.File)
			}
			seen[name] = function.File
		}
	}
}
