package lua

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Function is one function as its header describes it.
type Function struct {
	Name    string
	Aliases []string
	Summary string
	File    string    // within this folder
	Keys    string    // what KEYS holds
	Args    string    // what ARGV holds
	Reply   string    // what is replied
	Errors  []Refusal // the refusals that a caller must expect
	Touches []Access  // every key, those that the header itself names first
	As      []string  // the functions whose keys it touches as well
	Flags   []string
}

// ReadOnly reports whether the function never writes.
func (f *Function) ReadOnly() bool { return slices.Contains(f.Flags, "no-writes") }

// Names returns the name and then the aliases.
func (f *Function) Names() []string { return append([]string{f.Name}, f.Aliases...) }

// Refuses reports whether the header lists the code.
func (f *Function) Refuses(code string) bool {
	return slices.ContainsFunc(f.Errors, func(r Refusal) bool { return r.Code == code })
}

// Refusal is one code with which a function may refuse.
type Refusal struct {
	Code string
	When string // a remark, may be empty
}

// Access is one kind of key that a function touches.
type Access struct {
	Pattern string // without the namespace; names in braces stand for a part, for example comsrv:{channel}:{type}
	Write   bool   // read and written, else only read
	As      string // the function through which it is touched, empty where the header names the key itself
}

// What a header may hold. A part in braces stands for a channel, an id and the
// like; what it may stand for is told by its name.
var (
	functionName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	keyPattern   = regexp.MustCompile(`^[a-z_]+(:([a-z_]+|\{[a-z_]+\}))+$`)
	refusal      = regexp.MustCompile(`^([A-Z_]+)(?: \(([^()]+)\))?(?:, |$)`)
	codes        = []string{"INVALID", "NOT_FOUND", "CONFLICT", "STALE", "EXPIRED", "FULL", "UNAVAILABLE"}
	flags        = []string{"no-writes", "allow-oom"}
	headerFields = []string{"alias", "KEYS", "ARGV", "reply", "errors", "keys", "flags"}
)

// header is the comment block at the top of a file, by field.
type header struct {
	file   string
	fields map[string]string
	lines  map[string]int // where each field begins
}

// parseHeader reads the comment block at the top of a function's file. An error
// names file and line.
func parseHeader(file, source string) (Function, error) {
	function := Function{File: file, Name: strings.TrimSuffix(path.Base(file), ".lua")}
	if !functionName.MatchString(function.Name) {
		return function, fmt.Errorf("lua/%s: %q is no name for a function: use lower case letters, digits and single '_'", file, function.Name)
	}
	h := header{file: file, fields: map[string]string{}, lines: map[string]int{}}
	if err := h.read(source, &function); err != nil {
		return function, err
	}
	function.Keys, function.Args, function.Reply = h.fields["KEYS"], h.fields["ARGV"], h.fields["reply"]
	for _, parse := range []func(*Function) error{h.parseAliases, h.parseErrors, h.parseKeys, h.parseFlags} {
		if err := parse(&function); err != nil {
			return function, err
		}
	}
	if !strings.Contains(source, "\nlocal function "+function.Name+"(") {
		return function, fmt.Errorf("lua/%s: defines no \"local function %s(keys, args)\"", file, function.Name)
	}
	return function, nil
}

func (h *header) fault(field, format string, args ...any) error {
	return fmt.Errorf("lua/%s:%d: %s: %s", h.file, h.lines[field], field, fmt.Sprintf(format, args...))
}

// read takes the comment block apart. A line that begins with two spaces or more
// continues the field before it.
func (h *header) read(source string, function *Function) error {
	last := ""
	for i, line := range strings.Split(source, "\n") {
		comment, isComment := strings.CutPrefix(line, "--")
		if !isComment {
			break
		}
		if i == 0 {
			name, summary, ok := strings.Cut(strings.TrimSpace(comment), ": ")
			if !ok || name != function.Name {
				return fmt.Errorf("lua/%s:1: the first line must read \"-- %s: what it does\"", h.file, function.Name)
			}
			function.Summary = strings.TrimSpace(summary)
			continue
		}
		if strings.HasPrefix(comment, "  ") && last != "" {
			h.fields[last] = strings.TrimSpace(h.fields[last] + " " + strings.TrimSpace(comment))
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(comment), " ")
		if !slices.Contains(headerFields, name) {
			return fmt.Errorf("lua/%s:%d: unknown field %q: a header holds %s", h.file, i+1, name, strings.Join(headerFields, ", "))
		}
		if first, twice := h.lines[name]; twice {
			return fmt.Errorf("lua/%s:%d: %s is given twice, first in line %d", h.file, i+1, name, first)
		}
		last = name
		h.fields[name], h.lines[name] = strings.TrimSpace(value), i+1
	}
	if function.Summary == "" {
		return fmt.Errorf("lua/%s:1: the first line must read \"-- %s: what it does\"", h.file, function.Name)
	}
	for _, name := range headerFields {
		if _, given := h.lines[name]; h.fields[name] == "" && (given || name != "alias") {
			return fmt.Errorf("lua/%s: the header lacks a line \"-- %s …\"", h.file, name)
		}
	}
	return nil
}

func (h *header) parseAliases(function *Function) error {
	for _, alias := range strings.Fields(h.fields["alias"]) {
		if !functionName.MatchString(alias) {
			return h.fault("alias", "%q is no name for a function", alias)
		}
		if slices.Contains(function.Names(), alias) {
			return h.fault("alias", "%s is given twice", alias)
		}
		function.Aliases = append(function.Aliases, alias)
	}
	return nil
}

// parseErrors reads "INVALID, CONFLICT (begun before, or ended)".
func (h *header) parseErrors(function *Function) error {
	rest := h.fields["errors"]
	for rest != "" {
		match := refusal.FindStringSubmatch(rest)
		if match == nil || strings.HasSuffix(match[0], ", ") && len(match[0]) == len(rest) {
			return h.fault("errors", "%q is not of the form CODE, CODE (remark), …", rest)
		}
		code := match[1]
		if !slices.Contains(codes, code) {
			return h.fault("errors", "unknown code %s: use %s", code, strings.Join(codes, ", "))
		}
		if function.Refuses(code) {
			return h.fault("errors", "%s is given twice", code)
		}
		function.Errors = append(function.Errors, Refusal{Code: code, When: match[2]})
		rest = rest[len(match[0]):]
	}
	return nil
}

// parseKeys reads "comsrv:{channel}:{type} w, rulesrv:rules r, as rule_evaluate",
// or none.
func (h *header) parseKeys(function *Function) error {
	if h.fields["keys"] == "none" {
		return nil
	}
	for _, item := range strings.Split(h.fields["keys"], ", ") {
		if name, ok := strings.CutPrefix(item, "as "); ok {
			if !functionName.MatchString(name) || slices.Contains(function.As, name) {
				return h.fault("keys", "%q names no function, or one twice", item)
			}
			function.As = append(function.As, name)
			continue
		}
		pattern, mode, _ := strings.Cut(item, " ")
		if mode != "r" && mode != "w" || !keyPattern.MatchString(pattern) {
			return h.fault("keys", "%q is neither \"pattern r\" nor \"pattern w\" nor \"as function\", where a pattern is, for example, comsrv:{channel}:status", item)
		}
		if slices.ContainsFunc(function.Touches, func(a Access) bool { return a.Pattern == pattern }) {
			return h.fault("keys", "%s is given twice", pattern)
		}
		function.Touches = append(function.Touches, Access{Pattern: pattern, Write: mode == "w"})
	}
	return nil
}

func (h *header) parseFlags(function *Function) error {
	if h.fields["flags"] == "none" {
		return nil
	}
	for _, flag := range strings.Fields(h.fields["flags"]) {
		if !slices.Contains(flags, flag) {
			return h.fault("flags", "unknown flag %q: use none, or any of %s", flag, strings.Join(flags, ", "))
		}
		if slices.Contains(function.Flags, flag) {
			return h.fault("flags", "%s is given twice", flag)
		}
		function.Flags = append(function.Flags, flag)
	}
	return nil
}

// include adds to every function the keys of the functions that it touches keys
// as, and refuses a header whose keys and flags contradict each other.
func include(functions []Function) error {
	own := make(map[string]*Function, len(functions))
	for i := range functions {
		own[functions[i].Name] = &functions[i]
	}
	complete := make([][]Access, len(functions))
	for i := range functions {
		touches, err := reached(&functions[i], own)
		if err != nil {
			return err
		}
		complete[i] = touches
	}
	for i := range functions {
		function := &functions[i]
		function.Touches = complete[i]
		writes := slices.ContainsFunc(function.Touches, func(a Access) bool { return a.Write })
		if writes && function.ReadOnly() {
			return fmt.Errorf("lua/%s: keys: the flag no-writes contradicts a key that is written", function.File)
		}
		if !writes && !function.ReadOnly() {
			return fmt.Errorf("lua/%s: flags: no key is written: give it the flag no-writes", function.File)
		}
	}
	return nil
}

// reached returns the keys of a function and of all that it touches keys as.
func reached(function *Function, own map[string]*Function) ([]Access, error) {
	touches := slices.Clone(function.Touches)
	seen := map[string]bool{function.Name: true}
	for waiting := []*Function{function}; len(waiting) > 0; waiting = waiting[1:] {
		for _, name := range waiting[0].As {
			other, found := own[name]
			if !found || name == waiting[0].Name {
				return nil, fmt.Errorf("lua/%s: keys: \"as %s\" names no other function of the library", waiting[0].File, name)
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			waiting = append(waiting, other)
			for _, access := range other.Touches {
				access.As = name
				touches = merge(touches, access)
			}
		}
	}
	return touches, nil
}

// merge adds an access unless it is there; one that writes stands for both.
func merge(touches []Access, access Access) []Access {
	at := slices.IndexFunc(touches, func(a Access) bool { return a.Pattern == access.Pattern })
	if at < 0 {
		return append(touches, access)
	}
	touches[at].Write = touches[at].Write || access.Write
	return touches
}
