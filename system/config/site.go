package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Site is everything that a site folder says, validated.
type Site struct {
	Dir       string
	Name      string
	Namespace ems.Namespace
	Channels  []Channel
	Templates []ems.Template // the site's own, in the order of its files
	Library   []ems.Template // those that come with the product, but for ids that the site has taken
	Models    []ems.Model
	Rules     []ems.Rule
	History   []ems.HistoryMapping
	Retention AlarmRetention
	Alarms    ems.AlarmSettings
	Forward   Forward

	environment []string // with which it was read
	protocols   []string
	beside      func(id ems.ChannelID) (Channel, bool) // finds channels that the folder does not name; may be nil
}

// Channel returns the channel with that id.
func (s *Site) Channel(id ems.ChannelID) (Channel, bool) {
	for _, channel := range s.Channels {
		if channel.ID == id {
			return channel, true
		}
	}
	if s.beside != nil {
		return s.beside(id)
	}
	return Channel{}, false
}

// Point returns the point that a reference names.
func (s *Site) Point(ref ems.PointRef) (MappedPoint, bool) {
	channel, ok := s.Channel(ref.Channel)
	if !ok {
		return MappedPoint{}, false
	}
	for _, point := range channel.Points {
		if point.Type == ref.Type && point.ID == ref.Point {
			return point, true
		}
	}
	return MappedPoint{}, false
}

// siteReader gathers the parts of a site and every fault found on the way.
type siteReader struct {
	dir         string
	environment map[string]string
	protocols   []string
	tables      map[string]string // tables by file, of a channel that brings its own; nil where they are in the folder
	unsound     map[string]bool   // ids of templates that are at fault, or above one that is
	faults      faults
}

func (s *siteReader) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// ReadSite reads and validates a whole site folder. protocols are the names of
// the drivers there are. The error lists every fault with its file and line.
func ReadSite(dir string, environment []string, protocols []string) (*Site, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, ems.Errorf(ems.CodeInvalid, "site folder %s cannot be read: %w; name a folder that holds site.yaml and channels.yaml", dir, err)
	case !info.IsDir():
		return nil, ems.Errorf(ems.CodeInvalid, "%s is not a folder: name the folder that holds site.yaml and channels.yaml", dir)
	}
	reader := &siteReader{dir: dir, environment: environmentMap(environment), protocols: protocols}
	for _, name := range []string{"site.yaml", "channels.yaml"} {
		if _, err := os.Stat(reader.path(name)); err != nil {
			reader.faults.add(name, 0, "missing in site folder %s: every site has one", dir)
		}
	}
	reader.checkFiles()
	site := &Site{Dir: dir, environment: environment, protocols: protocols}
	reader.readIdentity(site)
	reader.readForward(site)
	site.Channels = reader.readChannels()
	if err := reader.readTemplates(site); err != nil {
		return nil, err
	}
	reader.readModels(site)
	reader.readRules(site)
	reader.readHistory(site)
	reader.readAlarms(site)
	reader.faults.settle()
	if err := reader.faults.err(); err != nil {
		return nil, err
	}
	return site, nil
}

// siteFiles are the files of a site folder, and of a plant folder, which is one
// too.
var siteFiles = []string{
	"site.yaml", "channels.yaml", "models.yaml", "rules.yaml", "alarms.yaml", "history.yaml", "forward.yaml", "plant.yaml",
}

// checkFiles finds files that nothing would read: a misspelt name would make the
// site seem sound without what it holds.
func (s *siteReader) checkFiles() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.faults.add(".", 0, "%v", err)
		return
	}
	for _, entry := range entries {
		extension := filepath.Ext(entry.Name())
		if !entry.IsDir() && (extension == ".yaml" || extension == ".yml") && !contains(siteFiles, entry.Name()) {
			s.faults.add(entry.Name(), 0, "no file of a site has this name: use one of %s", listText(siteFiles))
		}
	}
}

func (s *siteReader) readIdentity(site *Site) {
	var file siteFile
	doc, ok := readDocument(s.path("site.yaml"), "site.yaml", &file, &s.faults)
	if !ok {
		return
	}
	if name := s.environment["VOLTAGE_SITE_NAMESPACE"]; name != "" {
		file.Site.Namespace = name
	}
	site.Name = file.Site.Name
	if site.Name == "" {
		doc.add([]any{"site", "name"}, "a site needs a name")
	}
	namespace, err := ems.NewNamespace(file.Site.Namespace)
	if err != nil {
		doc.add([]any{"site", "namespace"}, "%v", err)
	}
	site.Namespace = namespace
}

// maxStoredBytes is what the function library takes of one thing.
const maxStoredBytes = 1 << 20

// checkStored refuses what cannot be kept in Redis, where a rule, a model or a
// template is one JSON text.
func checkStored(thing any) error {
	text, err := json.Marshal(thing)
	if err != nil {
		return fmt.Errorf("it cannot be written as JSON: %w", err)
	}
	if len(text) > maxStoredBytes {
		return fmt.Errorf("it has %d bytes as JSON, more than the %d that fit", len(text), maxStoredBytes)
	}
	return nil
}

func environmentMap(environment []string) map[string]string {
	values := make(map[string]string, len(environment))
	for _, entry := range environment {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return values
}

func contains[S ~[]E, E comparable](list S, item E) bool { return slices.Contains(list, item) }

func uintText(number uint32) string { return strconv.FormatUint(uint64(number), 10) }

func listText[E any](list []E) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = fmt.Sprint(item)
	}
	return strings.Join(texts, ", ")
}
