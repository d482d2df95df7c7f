package lua

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// One Lua function holds at most 200 locals, and the library is one function. So
// each shared file is a scope of its own, which hands out those of its locals
// that other files use.
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

// scope includes a shared file as a function that returns its exports.
func (a *assembly) scope(file string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("lua/%s: no other file uses anything of it", file)
	}
	list := strings.Join(names, ", ")
	a.write("local " + list + " = (function()\n")
	if _, err := a.include(file); err != nil {
		return err
	}
	a.write("return " + list + "\nend)()\n")
	return nil
}
