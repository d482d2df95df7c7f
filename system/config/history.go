package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of history: what the function library takes.
const (
	maxMappings = 5000
	maxTags     = 50
)

// ParseHistorySource reads "comsrv:1001:T": all points of one type of a channel.
func ParseHistorySource(text string) (ems.ChannelID, ems.PointType, error) {
	parts := strings.Split(text, ":")
	if len(parts) == 3 && parts[0] == "comsrv" {
		channel, channelErr := ems.ParseChannelID(parts[1])
		kind, kindErr := ems.ParsePointType(parts[2])
		if channelErr == nil && kindErr == nil {
			return channel, kind, nil
		}
	}
	return 0, 0, ems.Errorf(ems.CodeInvalid, "unknown source %q: write it as comsrv:{channel}:{T|S|C|A}, for example comsrv:1001:T", text)
}

func (s *siteReader) readHistory(site *Site) {
	var file struct {
		Mappings []ems.HistoryMapping `yaml:"mappings"`
	}
	doc, ok := readDocument(s.path("history.yaml"), "history.yaml", &file, &s.faults)
	if !ok {
		return
	}
	if len(file.Mappings) > maxMappings {
		doc.add([]any{"mappings"}, "%d mappings are more than the %d that fit", len(file.Mappings), maxMappings)
	}
	ids, sources := map[string]int{}, map[string]int{}
	for i := range file.Mappings {
		mapping := &file.Mappings[i]
		at := []any{"mappings", i}
		if err := ems.CheckID("mapping id", mapping.ID); err != nil {
			doc.add(append(at, "id"), "%v", err)
		} else if first, twice := ids[mapping.ID]; twice {
			doc.add(append(at, "id"), "%q is already the id of mappings[%d]", mapping.ID, first)
		}
		if first, twice := sources[mapping.Source]; twice {
			doc.add(append(at, "source"), "%q is already the source of mappings[%d]: a source has one mapping", mapping.Source, first)
		}
		ids[mapping.ID], sources[mapping.Source] = i, i
		if err := CheckHistoryMapping(mapping); err != nil {
			doc.add(at, "%v", err)
			continue
		}
		checkTags(doc, at, mapping)
		s.nameFields(doc, at, site, mapping)
	}
	site.History = file.Mappings
}

func checkTags(doc *document, at []any, mapping *ems.HistoryMapping) {
	here := append(slices.Clone(at), "tags")
	if len(mapping.Tags) > maxTags {
		doc.add(here, "%d tags are more than the %d that fit", len(mapping.Tags), maxTags)
	}
	for _, name := range []string{"channel", "type"} {
		if _, given := mapping.Tags[name]; given {
			doc.add(append(here, name), "tag %s is set by the system, from the source", name)
		}
	}
}

// nameFields gives every point of the source the field name of its signal,
// where the mapping names none.
func (s *siteReader) nameFields(doc *document, at []any, site *Site, mapping *ems.HistoryMapping) {
	channelID, kind, err := ParseHistorySource(mapping.Source)
	if err != nil {
		return
	}
	channel, found := site.Channel(channelID)
	if !found {
		doc.addReference(pointTables, append(at, "source"), "no channel %d in channels.yaml", channelID)
		return
	}
	named := map[ems.PointID]string{}
	for _, point := range channel.Points {
		if point.Type != kind {
			continue
		}
		named[point.ID] = point.Name
		if _, given := mapping.Fields[point.ID]; !given {
			if err := checkName("field", point.Name); err != nil {
				doc.add(append(slices.Clone(at), "fields"), "point %s:%d has the name of its signal there, and %v: name it here", kind, point.ID, err)
			}
		}
	}
	for id, name := range mapping.Fields {
		if _, exists := named[id]; !exists {
			doc.addReference(pointTables, append(slices.Clone(at), "fields", fmt.Sprint(id)), "channel %d has no point %s:%d", channelID, kind, id)
		}
		named[id] = name
	}
	mapping.Fields = named
}

// CheckHistoryMapping checks the id, the source and the names of a mapping, which
// are also those of a question to history.
func CheckHistoryMapping(mapping *ems.HistoryMapping) error {
	if err := ems.CheckID("mapping id", mapping.ID); err != nil {
		return err
	}
	if _, _, err := ParseHistorySource(mapping.Source); err != nil {
		return err
	}
	if err := checkName("measurement", mapping.Measurement); err != nil {
		return err
	}
	for name, value := range mapping.Tags {
		if err := checkName("tag", name); err != nil {
			return err
		}
		if err := checkName("tag value", value); err != nil {
			return err
		}
	}
	for _, name := range mapping.Fields {
		if err := checkName("field", name); err != nil {
			return err
		}
	}
	return nil
}

// checkName refuses what InfluxDB cannot hold as a name: nothing, a control
// character, a backslash, or a name of its own (time, or one that
// begins with an underscore).
func checkName(what, name string) error {
	switch {
	case name == "" || len(name) > 100:
		return ems.Errorf(ems.CodeInvalid, "%s %q must have 1 to 100 characters", what, name)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return ems.Errorf(ems.CodeInvalid, "%s %q holds a control character", what, name)
	case strings.Contains(name, `\`):
		return ems.Errorf(ems.CodeInvalid, "%s %q holds a backslash, which InfluxDB has no escape for", what, name)
	case what != "tag value" && (name == "time" || strings.HasPrefix(name, "_")):
		return ems.Errorf(ems.CodeInvalid, "%s %q is a name that InfluxDB keeps for itself", what, name)
	}
	return nil
}
