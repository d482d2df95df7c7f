package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
)

// MadeChannel is a channel that was made through the API and is not in the site
// folder.
type MadeChannel struct {
	Channel
	doc *document
}

// madeEntry is the document of such a channel: an entry of channels.yaml, and its
// tables as CSV, each by the name that its file would have, without ".csv".
type madeEntry struct {
	channelEntry `yaml:",inline"`
	Points       map[string]string `yaml:"points"`
}

// madeName is the file of which the faults of such a document speak.
const madeName = "channel"

// ParseChannel reads the document of a channel that is made through the API, YAML
// or JSON, as an entry of channels.yaml and its tables would be read. What it asks
// of other channels is for CheckTogether. Files that it names lie below the site
// folder. The error lists every fault with its place.
func (s *Site) ParseChannel(text []byte) (*MadeChannel, error) {
	reader := &siteReader{dir: s.Dir, environment: environmentMap(s.environment), protocols: s.protocols, tables: map[string]string{}}
	doc := &document{file: madeName, faults: &reader.faults}
	var entry madeEntry
	if !doc.decode(text, &entry) {
		return nil, reader.faults.err()
	}
	reader.takeTables(doc, entry)
	made := &MadeChannel{Channel: reader.channel(doc, nil, entry.channelEntry), doc: doc}
	if entry.ID == 0 {
		doc.add([]any{"id"}, "a channel needs an id of 1 or more")
	} else {
		reader.complete(doc, nil, &made.Channel)
	}
	reader.faults.settle()
	if err := reader.faults.err(); err != nil {
		return nil, err
	}
	return made, nil
}

// takeTables puts the tables of a document where those of the folder would be.
func (s *siteReader) takeTables(doc *document, entry madeEntry) {
	known := TableNames()
	for _, name := range slices.Sorted(maps.Keys(entry.Points)) {
		if !contains(known, name) {
			doc.add([]any{"points", name}, "no table has this name: use one of %s", strings.Join(known, ", "))
			continue
		}
		s.tables[tableFolder(ems.ChannelID(entry.ID))+name+tableSuffix] = entry.Points[name]
	}
}

// CheckTogether tells what is wrong with channels beside one another, by channel:
// those of the site folder, sound by themselves, and those made through the API.
// Of two that do not go together the later one is at fault.
func CheckTogether(site []Channel, made []*MadeChannel) map[ems.ChannelID]error {
	all, channels := make([]placed, 0, len(site)+len(made)), slices.Clone(site)
	for i := range site {
		all = append(all, placed{Channel: &site[i], doc: &document{}})
	}
	for _, one := range made {
		doc := *one.doc
		all, channels = append(all, placed{Channel: &one.Channel, doc: &doc}), append(channels, one.Channel)
	}
	for _, channel := range all {
		channel.doc.file, channel.doc.faults = madeName+" "+uintText(uint32(channel.ID)), &faults{}
	}
	checkInterlocks(all[len(site):], channels)
	checkShared(all)
	checkWritten(all)
	found := map[ems.ChannelID]error{}
	for _, channel := range all {
		if err := channel.doc.faults.err(); err != nil {
			found[channel.ID] = err
		}
	}
	return found
}

// Switched returns the same channel, enabled or not.
func (m *MadeChannel) Switched(enabled bool) *MadeChannel {
	other := *m
	other.Enabled = enabled
	return &other
}

// BesideMade returns the site with the channels beside its own that were made
// through the API, for whoever asks which points there are. document returns what
// one is made of; it is asked once for each. The copy is for one goroutine.
func (s *Site) BesideMade(document func(id ems.ChannelID) (text string, found bool)) *Site {
	whole, known := *s, map[ems.ChannelID]*Channel{}
	whole.beside = func(id ems.ChannelID) (Channel, bool) {
		channel, asked := known[id]
		if !asked {
			if text, found := document(id); found {
				if made, err := s.ParseChannel([]byte(text)); err == nil {
					channel = &made.Channel
				}
			}
			known[id] = channel
		}
		if channel == nil {
			return Channel{}, false
		}
		return *channel, true
	}
	return &whole
}

// WithTables returns the document of a channel made through the API with other
// tables, and else as it was.
func WithTables(text string, tables map[string]string) (string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return "", ems.Errorf(ems.CodeInvalid, "the document of the channel cannot be read: %v", err)
	}
	var points yaml.Node
	if err := points.Encode(tables); err != nil {
		return "", ems.Errorf(ems.CodeInternal, "the tables cannot be written as YAML: %w", err)
	}
	entry := root.Content[0]
	place := 0
	for place < len(entry.Content) && entry.Content[place].Value != "points" {
		place += 2 // keys and values in turn
	}
	if place >= len(entry.Content) {
		entry.Content = append(entry.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "points"}, nil)
	}
	entry.Content[place+1] = &points
	whole, err := yaml.Marshal(&root)
	if err != nil {
		return "", ems.Errorf(ems.CodeInternal, "the document cannot be written as YAML: %w", err)
	}
	return string(whole), nil
}
