package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/voltageems/voltageems-go/system/ems"
)

// forwardName is the file of what leaves the site.
const forwardName = "forward.yaml"

// Forward is where netsrv sends updates, and whom it tells of alarms.
type Forward struct {
	Enabled bool           `yaml:"enabled"`
	Target  string         `yaml:"target"` // http:// or https:// URL
	Notify  []NotifyTarget `yaml:"notify"`
}

// NotifyTarget is where notifications go: to a URL or into the log.
type NotifyTarget struct {
	Name string `yaml:"name"`
	// URL takes a POST of one JSON document for each notification. The
	// environment goes before it, and before Log: NETSRV_NOTIFY_{NAME}_URL.
	URL string `yaml:"url"`
	Log bool   `yaml:"log"`
	// Levels and Kinds choose among notifications that name nobody; empty is all.
	Levels []ems.AlarmLevel `yaml:"levels"`
	Kinds  []string         `yaml:"kinds"`
	To     []string         `yaml:"to"` // whose notifications come here too, besides those that name the target itself
	// Timeout is for one request, GiveUpAfter for the age at which a notification
	// that is not taken becomes a dead letter.
	Timeout     time.Duration `yaml:"timeout"`
	GiveUpAfter time.Duration `yaml:"give_up_after"`
	// Authorization is sent as the header of that name, from the environment alone:
	// NETSRV_NOTIFY_{NAME}_AUTHORIZATION.
	Authorization string `yaml:"-"`
}

// Bounds and defaults of targets. Each takes a connection of the pool of Redis.
const (
	maxNotifyTargets     = 10
	maxNotifyNames       = 50
	maxAuthorization     = 8192
	defaultNotifyTimeout = 10 * time.Second
	leastNotifyTimeout   = 100 * time.Millisecond
	longestNotifyTimeout = time.Minute
	defaultGiveUpAfter   = 24 * time.Hour
)

// Answers reports whether somebody is told by this target.
func (t *NotifyTarget) Answers(name string) bool { return name == t.Name || contains(t.To, name) }

// Answers reports whether somebody is told by any target.
func (f *Forward) Answers(name string) bool {
	return slices.ContainsFunc(f.Notify, func(target NotifyTarget) bool { return target.Answers(name) })
}

// unknownName says what is wrong with the name of somebody to tell; nothing where
// it is empty.
func (f *Forward) unknownName(name string) string {
	if name == "" || f.Answers(name) {
		return ""
	}
	return fmt.Sprintf("nobody is told as %q: make it the name of a target under notify in %s, or list it in the to of one", name, forwardName)
}

// variable is the name of a setting of the target in the environment.
func (t *NotifyTarget) variable(setting string) string {
	name := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return unicode.ToUpper(r)
	}, t.Name)
	return "NETSRV_NOTIFY_" + name + "_" + setting
}

func (s *siteReader) readForward(site *Site) {
	doc, ok := readDocument(s.path(forwardName), forwardName, &site.Forward, &s.faults)
	if !ok {
		return
	}
	if site.Forward.Enabled {
		if err := checkURL(site.Forward.Target, "http", "https"); err != nil {
			doc.add([]any{"target"}, "%v", err)
		}
	}
	targets := site.Forward.Notify
	if len(targets) > maxNotifyTargets {
		doc.add([]any{"notify"}, "%d targets are more than the %d that fit", len(targets), maxNotifyTargets)
	}
	variables := map[string]int{}
	for i := range targets {
		target, at := &targets[i], []any{"notify", i}
		name := append(slices.Clone(at), "name")
		if err := ems.CheckID("target name", target.Name); err != nil {
			doc.add(name, "%v", err)
			continue
		}
		if first, twice := variables[target.variable("")]; twice {
			doc.add(name, "%q is already the name of notify[%d], in the environment at least", target.Name, first)
		}
		variables[target.variable("")] = i
		s.notifyTarget(doc, at, target)
	}
}

// notifyTarget checks one target and gives it what the environment says of it.
func (s *siteReader) notifyTarget(doc *document, at []any, target *NotifyTarget) {
	here := func(path ...any) []any { return append(slices.Clone(at), path...) }
	if target.Timeout == 0 {
		target.Timeout = defaultNotifyTimeout
	}
	if target.GiveUpAfter == 0 {
		target.GiveUpAfter = defaultGiveUpAfter
	}
	s.notifyAddress(doc, here, target)
	if target.Timeout < leastNotifyTimeout || target.Timeout > longestNotifyTimeout {
		doc.add(here("timeout"), "%v is not between %v and %v", target.Timeout, leastNotifyTimeout, longestNotifyTimeout)
	}
	if target.GiveUpAfter < time.Minute || target.GiveUpAfter > longestWeek {
		doc.add(here("give_up_after"), "%v is not between %v and %v", target.GiveUpAfter, time.Minute, longestWeek)
	}
	for i, level := range target.Levels {
		if _, err := ems.ParseAlarmLevel(string(level)); err != nil {
			doc.add(here("levels", i), "%v", err)
		}
	}
	for i, kind := range target.Kinds {
		if !contains(ems.NotificationKinds[:], kind) {
			doc.add(here("kinds", i), "unknown kind %q: use one of %s", kind, listText(ems.NotificationKinds[:]))
		}
	}
	if len(target.To) > maxNotifyNames {
		doc.add(here("to"), "%d names are more than the %d that fit", len(target.To), maxNotifyNames)
	}
	for i, name := range target.To {
		if err := checkNotifyName(name); err != nil {
			doc.add(here("to", i), "%v", err)
		} else if name == "" {
			doc.add(here("to", i), "the name is empty")
		}
	}
}

// notifyAddress checks where a target is. What may hold a secret is never told.
func (s *siteReader) notifyAddress(doc *document, here func(...any) []any, target *NotifyTarget) {
	variable := target.variable("URL")
	switch {
	case target.URL == "" && !target.Log:
		doc.add(here(), "a target needs a url or log: true, also where %s says where it is", variable)
	case target.URL != "" && target.Log:
		doc.add(here("log"), "a target has a url or logs, not both")
	case target.URL != "":
		if err := checkURL(target.URL, "http", "https"); err != nil {
			doc.add(here("url"), "%v", err)
		}
	}
	if address := s.environment[variable]; address != "" {
		target.URL, target.Log = address, false
		if err := checkURL(address, "http", "https"); err != nil {
			s.faults.add("environment", 0, "%s: %v", variable, err)
		}
	}
	variable = target.variable("AUTHORIZATION")
	target.Authorization = s.environment[variable]
	if len(target.Authorization) > maxAuthorization || strings.ContainsFunc(target.Authorization, unicode.IsControl) {
		s.faults.add("environment", 0, "%s is not the value of a header: it has control characters or more than %d bytes", variable, maxAuthorization)
	}
}

// checkNotifyName refuses what cannot be the name of somebody who is told.
func checkNotifyName(name string) error {
	if len(name) > ems.MaxNotifyName {
		return fmt.Errorf("%d bytes are more than the %d that fit", len(name), ems.MaxNotifyName)
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q holds a control character", name)
	}
	return nil
}
