package lua

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// One Lua function holds at most 200 locals, and the library is one function. So
// each file is a block of its own. A shared one puts those of its locals that other
// files use into one table, and each file begins with locals of what it uses of it.
//
// A name that is handed out stands for what it was when its file ended: a file
// that assigns to the local of another one would not reach it.

var (
	topLevel = regexp.MustCompile(`(?m)^local (?:function (\w+)|([\w, ]+?) *(?:=.*)?$)`)
	comment  = regexp.MustCompile(`--.*`)
	word     = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// exports returns, by shared file, the names that other files use, in the order
// in which the file defines them.
func exports() (map[string][]string, error) {
	all, err := fs.Glob(files, "*/*.lua")
	if err != nil {
		return nil, err
	}
	users := map[string][]string{"guard": {"the assembly"}} // by word, the files that it stands in
	for _, file := range all {
		text, err := files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, name := range word.FindAllString(comment.ReplaceAllString(string(text), ""), -1) {
			if !seen[name] {
				seen[name] = true
				users[name] = append(users[name], file)
			}
		}
	}
	found := map[string][]string{}
	owner := map[string]string{}
	for _, name := range shared() {
		file := "shared/" + name + ".lua"
		text, err := files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, match := range topLevel.FindAllStringSubmatch(string(text), -1) {
			for _, local := range strings.Split(match[1]+match[2], ",") {
				local = strings.TrimSpace(local)
				if !slices.ContainsFunc(users[local], func(user string) bool { return user != file }) {
					continue
				}
				if first, twice := owner[local]; twice {
					return nil, fmt.Errorf("lua/%s: %s is defined in lua/%s already, and used by others: they could not tell which is meant", file, local, first)
				}
				owner[local] = file
				found[file] = append(found[file], local)
			}
		}
	}
	return found, nil
}

// scope includes a file as a block that knows what the files before it handed out;
// end is written before the block ends.
func (a *assembly) scope(file string, end func(source string) error) error {
	text, err := files.ReadFile(file)
	if err != nil {
		return err
	}
	var used, from []string
	seen := map[string]bool{}
	for _, name := range word.FindAllString(comment.ReplaceAllString(string(text), ""), -1) {
		if a.handedOut[name] && !seen[name] {
			seen[name] = true
			used, from = append(used, name), append(from, "shared."+name)
		}
	}
	a.write("do")
	if len(used) > 0 {
		a.write(" local " + strings.Join(used, ", ") + " = " + strings.Join(from, ", "))
	}
	a.write("\n")
	source, err := a.include(file)
	if err != nil {
		return err
	}
	if err := end(source); err != nil {
		return err
	}
	a.write("end\n")
	return nil
}

// shared includes a shared file that hands out names.
func (a *assembly) shared(file string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("lua/%s: no other file uses anything of it", file)
	}
	return a.scope(file, func(string) error {
		a.write("shared." + strings.Join(names, ", shared.") + " = " + strings.Join(names, ", ") + "\n")
		for _, name := range names {
			a.handedOut[name] = true
		}
		return nil
	})
}
