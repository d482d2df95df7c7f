package control

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of the states that are kept.
const (
	mostSnapshots = 100
	mostSnapshot  = 64 << 20 // bytes of one that is sent
)

var snapshotName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// snapshots are named states: those that were saved while the plant runs, and the
// initial conditions in the plant's folder. A saved one goes before a file of its name.
type snapshots struct {
	folder string

	mu   sync.Mutex
	kept map[string]*plant.Snapshot
}

// put keeps a state under a name.
func (s *snapshots) put(name string, snapshot *plant.Snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, replaced := s.kept[name]; !replaced && len(s.kept) >= mostSnapshots {
		return ems.Errorf(ems.CodeConflict, "%d snapshots are kept, which is the limit: remove one", mostSnapshots)
	}
	s.kept[name] = snapshot
	return nil
}

func (s *snapshots) drop(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.kept[name]
	delete(s.kept, name)
	return known
}

// get returns the state of a name.
func (s *snapshots) get(name string) (*plant.Snapshot, error) {
	s.mu.Lock()
	kept := s.kept[name]
	s.mu.Unlock()
	if kept != nil {
		return kept, nil
	}
	snapshot, err := ReadSnapshot(filepath.Join(s.folder, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ems.Errorf(ems.CodeNotFound, "no snapshot %q: there are %s", name, s.listed())
	}
	return snapshot, err
}

func (s *snapshots) names() []string {
	files, _ := filepath.Glob(filepath.Join(s.folder, "*.json")) // the pattern is sound
	found := map[string]bool{}
	for _, file := range files {
		found[strings.TrimSuffix(filepath.Base(file), ".json")] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.kept {
		found[name] = true
	}
	names := []string{}
	for name := range found {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// listed names them for people.
func (s *snapshots) listed() string {
	if names := s.names(); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "none"
}

// ReadSnapshot reads a state from a file.
func ReadSnapshot(file string) (*plant.Snapshot, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, ems.Errorf(ems.CodeNotFound, "%w", err)
	}
	var snapshot plant.Snapshot
	if err := json.Unmarshal(text, &snapshot); err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "%s is no snapshot of a plant: %w", file, err)
	}
	return &snapshot, nil
}

func (a *api) listSnapshots(c echo.Context) error { return succeed(c, a.snapshots.names()) }

// snapshot answers with a state as it is kept in a file.
func (a *api) snapshot(c echo.Context) error {
	name, err := nameOf(c)
	if err != nil {
		return err
	}
	snapshot, err := a.snapshots.get(name)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, snapshot)
}

func nameOf(c echo.Context) (string, error) {
	name := c.Param("name")
	if !snapshotName.MatchString(name) {
		return "", ems.Errorf(ems.CodeInvalid, "%q is no name of a snapshot: use up to 64 lower-case letters, digits, - and _", name)
	}
	return name, nil
}

// save keeps the present state under a name, or that which the request sends.
func (a *api) save(c echo.Context) error {
	name, err := nameOf(c)
	if err = errors.Join(err, query(c)); err != nil {
		return err
	}
	var snapshot *plant.Snapshot
	if c.Request().ContentLength != 0 {
		snapshot = &plant.Snapshot{}
		if err = read(c, snapshot, mostSnapshot, "what GET /snapshots/"+name+" answered, or nothing to save the present state"); err == nil {
			err = a.plant.Fits(snapshot)
		}
	} else {
		snapshot, err = a.runner.Save(name)
	}
	if err != nil {
		return err
	}
	if err := a.snapshots.put(name, snapshot); err != nil {
		return err
	}
	return succeed(c, map[string]any{"name": name, "tick": snapshot.Tick})
}

func (a *api) dropSnapshot(c echo.Context) error {
	name, err := nameOf(c)
	if err != nil {
		return err
	}
	if !a.snapshots.drop(name) {
		return ems.Errorf(ems.CodeNotFound, "no saved snapshot %q: there are %s, of which the plant's files cannot be removed here", name, a.snapshots.listed())
	}
	return succeed(c, map[string]any{"name": name})
}

func (a *api) restore(c echo.Context) error {
	name, err := nameOf(c)
	if err != nil {
		return err
	}
	snapshot, err := a.snapshots.get(name)
	if err != nil {
		return err
	}
	truth, err := a.runner.Restore(name, snapshot)
	if err != nil {
		return err
	}
	return succeed(c, movedTo(truth))
}
