// Package lua holds the function library that runs inside Redis: one function a
// file, grouped by service, assembled here into the one library "voltage".
//
// The header comment of a file is its contract, read by the assembly, shown in
// README.md and held against what the function does by the tests of system/rtdb:
//
//	-- alarm_acknowledge: record that somebody has seen an alarm
//	-- alias  acknowledge_alarm
//	-- KEYS   [{site}:]alarm id
//	-- ARGV   by whom, now ms
//	-- reply  the new state
//	-- errors INVALID, NOT_FOUND, CONFLICT (acknowledged before, or closed)
//	-- keys   alarmsrv:alarm:{id} w, alarmsrv:journal w
//	-- flags  allow-oom
//	local function alarm_acknowledge(keys, args)
//
// alias is optional. keys lists what is read (r), what is read and written (w), and
// functions whose keys are touched as well (as). A line that begins with two spaces
// or more continues the one before.
//
// Files in shared come first, in the order in which they need each other, and
// define what the functions use.
package lua

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// Version says which contract the functions keep. The second number grows when
// functions are added, the first when a caller of the older library would break.
const Version = "2.1"

// Name is the name of the library in Redis.
const Name = "voltage"

//go:embed shared/*.lua comsrv/*.lua modsrv/*.lua alarmsrv/*.lua rulesrv/*.lua hissrv/*.lua
var files embed.FS

//go:generate go test -count=1 -run ^TestReadmeIsUpToDate$ . -update

// shared are the files that functions build on, each after those it uses.
func shared() []string {
	return []string{"check", "point", "command", "hold", "alarm_settings", "alarm_notice", "alarm", "alarm_aside", "alarm_list", "history", "formula", "template", "model", "model_values", "rule_source", "rule_condition", "rule_program", "rule_action", "rule", "rule_run", "rule_store", "rule_test"}
}

// services are the folders of functions, in the order of assembly.
func services() []string { return []string{"comsrv", "modsrv", "alarmsrv", "rulesrv", "hissrv"} }

// Library is the assembled library.
type Library struct {
	Code      string // what FUNCTION LOAD takes
	Hash      string // of everything but the hash itself; 12 hexadecimal digits
	Functions []Function
	origins   []origin
}

// origin is a run of assembled lines that came from one file.
type origin struct {
	first int // assembled line of the file's first line
	lines int
	file  string
}

// Assemble builds the library from the embedded files. An error is a fault in a
// source file and names it. As the files are always the same it is built once, and
// what it returns is not to be changed.
func Assemble() (*Library, error) { return assembled() }

var assembled = sync.OnceValues(assemble) //nolint:gochecknoglobals // embedded files, in another form

func assemble() (*Library, error) {
	builder := &assembly{library: &Library{}, line: 1, handedOut: map[string]bool{}}
	builder.write("#!lua name=" + Name + "\nlocal shared = {}\n")
	handedOut, err := exports()
	if err != nil {
		return nil, err
	}
	for _, name := range shared() {
		file := "shared/" + name + ".lua"
		if err := builder.shared(file, handedOut[file]); err != nil {
			return nil, err
		}
	}
	if err := checkShared(); err != nil {
		return nil, err
	}
	for _, service := range services() {
		found, err := fs.Glob(files, service+"/*.lua")
		if err != nil {
			return nil, err
		}
		slices.Sort(found)
		for _, file := range found {
			if err := builder.function(file); err != nil {
				return nil, err
			}
		}
	}
	if err := include(builder.library.Functions); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(builder.code.String()))
	library := builder.library
	library.Hash = hex.EncodeToString(sum[:6])
	library.Code = builder.code.String() + fmt.Sprintf(
		"redis.register_function{function_name='voltage_version', callback=function() return '%s:%s' end, flags={'no-writes'}}\n",
		Version, library.Hash)
	return library, nil
}

// checkShared refuses a shared file that the assembly would leave out.
func checkShared() error {
	found, err := fs.Glob(files, "shared/*.lua")
	if err != nil {
		return err
	}
	for _, file := range found {
		if !slices.Contains(shared(), strings.TrimSuffix(path.Base(file), ".lua")) {
			return fmt.Errorf("lua/%s: not in the list of shared files in lua/library.go", file)
		}
	}
	return nil
}

// Source returns file:line of the source for a line of the assembled code.
func (l *Library) Source(line int) string {
	for _, origin := range l.origins {
		if line >= origin.first && line < origin.first+origin.lines {
			return fmt.Sprintf("lua/%s:%d", origin.file, line-origin.first+1)
		}
	}
	return fmt.Sprintf("assembled library:%d", line)
}

type assembly struct {
	library *Library
	code    strings.Builder
	line    int // the line that the next byte goes to

	handedOut map[string]bool // by the shared files so far
}

func (a *assembly) write(text string) {
	a.code.WriteString(text)
	a.line += strings.Count(text, "\n")
}

func (a *assembly) include(file string) (string, error) {
	text, err := files.ReadFile(file)
	if err != nil {
		return "", err
	}
	source := strings.TrimRight(string(text), "\n") + "\n"
	a.library.origins = append(a.library.origins, origin{first: a.line, lines: strings.Count(source, "\n"), file: file})
	a.write(source)
	return source, nil
}

// function includes the file of a function and registers what its header declares.
func (a *assembly) function(file string) error {
	return a.scope(file, func(source string) error {
		function, err := parseHeader(file, source)
		if err != nil {
			return err
		}
		for _, name := range function.Names() {
			a.write(fmt.Sprintf("redis.register_function{function_name='%s', callback=shared.guard(%s), flags={%s}}\n",
				name, function.Name, quoted(function.Flags)))
		}
		a.library.Functions = append(a.library.Functions, function)
		return nil
	})
}

func quoted(words []string) string {
	var list []string
	for _, word := range words {
		list = append(list, "'"+word+"'")
	}
	return strings.Join(list, ", ")
}
