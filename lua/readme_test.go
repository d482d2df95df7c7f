package lua_test

import (
	"flag"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/lua"
)

var update = flag.Bool("update", false, "write README.md anew")

func TestReadmeIsUpToDate(t *testing.T) {
	want := readme(assemble(t))
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("README.md")
	if err != nil || string(got) != want {
		t.Errorf("lua/README.md does not say what the headers of the functions say: run `go generate ./lua` (%v)", err)
	}
}

const introduction = `# The function library

<!-- Written by "go generate ./lua" from the headers of the functions. -->

The business logic of the system runs inside Redis, as one library of functions named ` + "`voltage`" + `. One file holds one function;
what several share is in ` + "`shared`" + `. ` + "`voltage functions load`" + ` puts the library into Redis, ` + "`voltage functions verify`" + ` says whether
Redis holds one that fits: the function ` + "`voltage_version`" + ` replies with version and content hash.

## Calling a function

KEYS[1] names what the call is about. A site with a name of its own has it in braces before the key, so that all its keys
lie in one slot of a cluster:

` + "```sh" + `
redis-cli FCALL alarm_get 1 17
redis-cli FCALL alarm_get 1 '{north}:17'
redis-cli FCALL alarm_list_active 1 '{north}:all' '' 10 Critical ''
` + "```" + `

A second key of the same site may be named; it is not looked at. All arguments and all replies are texts. Times are Unix milliseconds and
come from the caller: a function never asks the clock. A number is a plain decimal such as ` + "`-12.500000`" + `, never ` + "`1e5`, `nan` or `inf`" + `.

## Refusals

A function that refuses has written nothing. The first word of the error is one of these codes, the rest is for people:

| code | meaning |
|---|---|
| INVALID | the call is wrong; sending it again will not help |
| NOT_FOUND | there is no such thing |
| CONFLICT | the thing is not in the state that the caller thinks |
| STALE | the data behind the request are too old to act on |
| EXPIRED | the deadline has passed; nothing was done |
| FULL | a bound was reached; nothing was stored |
| UNAVAILABLE | something that is needed is not there for now |

## Keys and flags

The keys of each function are listed without the name of the site. A part in braces stands for a channel, an id and so on.
A function touches no other key, so the rights of a Redis user can be taken from here: ` + "`%R~`" + ` for what is read, ` + "`~`" + ` for what is
read and written. A function with the flag ` + "`no-writes`" + ` only reads and may be called with FCALL_RO; one with ` + "`allow-oom`" + ` also works
when Redis is at its memory limit.

## Adding a function

1. Write ` + "`lua/<service>/<name>.lua`" + ` with a header like those of the files beside it (the form is told in ` + "`library.go`" + `). Check everything
   before the first write: an error does not roll back.
2. Run ` + "`go generate ./lua`" + `, which writes this file.
3. Give it a case in ` + "`system/rtdb/contract_<service>_test.go`" + `: the tests fail until it has one.
4. Give it a typed call in ` + "`system/rtdb`" + ` and raise ` + "`Version`" + ` in ` + "`library.go`" + `.

## The functions
`

// readme is the text of README.md.
func readme(library *lua.Library) string {
	var text strings.Builder
	text.WriteString(introduction)
	service := ""
	for _, function := range library.Functions {
		if of := path.Dir(function.File); of != service {
			service = of
			fmt.Fprintf(&text, "\n| %s | |\n|---|---|\n", service)
		}
		fmt.Fprintf(&text, "| [%s](#%s) | %s |\n", function.Name, function.Name, cell(function.Summary))
	}
	for _, function := range library.Functions {
		describe(&text, &function)
	}
	return text.String()
}

func describe(text *strings.Builder, function *lua.Function) {
	fmt.Fprintf(text, "\n### %s\n\n%s. Source: [%s](%s).\n", function.Name, plain(capital(function.Summary)), path.Base(function.File), function.File)
	if len(function.Aliases) > 0 {
		fmt.Fprintf(text, "Also called %s.\n", code(function.Aliases))
	}
	var refusals, keys []string
	for _, refusal := range function.Errors {
		if refusal.When != "" {
			refusal.Code += " (" + plain(refusal.When) + ")"
		}
		refusals = append(refusals, refusal.Code)
	}
	for _, access := range function.Touches {
		if access.As == "" {
			keys = append(keys, code([]string{access.Pattern})+map[bool]string{true: " w", false: " r"}[access.Write])
		}
	}
	for _, other := range function.As {
		keys = append(keys, fmt.Sprintf("those of [%s](#%s)", other, other))
	}
	if len(keys) == 0 {
		keys = []string{"none"}
	}
	flags := "none"
	if len(function.Flags) > 0 {
		flags = code(function.Flags)
	}
	fmt.Fprintf(text, "\n| | |\n|---|---|\n| KEYS | %s |\n| ARGV | %s |\n| reply | %s |\n| errors | %s |\n| keys | %s |\n| flags | %s |\n",
		cell(function.Keys), cell(function.Args), cell(function.Reply), strings.Join(refusals, ", "), strings.Join(keys, ", "), flags)
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func code(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

// plain keeps Markdown from reading signs of its own into a text.
func plain(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "`", "\\`", "#", `\#`).Replace(text)
}

// cell is plain inside a table.
func cell(text string) string { return strings.ReplaceAll(plain(text), "|", `\|`) }
