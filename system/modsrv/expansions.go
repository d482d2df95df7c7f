package modsrv

import (
	"context"
	"sync"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// expansions keeps what models expand to while no model changes: values are asked
// for often, and expanding takes Redis many times as long as reading them.
type expansions struct {
	db      *rtdb.Client
	mu      sync.Mutex
	version string // of the models that were expanded
	byID    map[string]ems.Expansion
}

// of returns what a model expands to now.
func (e *expansions) of(ctx context.Context, id string) (ems.Expansion, error) {
	version, _, err := e.db.ModelsVersion(ctx)
	if err != nil {
		return ems.Expansion{}, err
	}
	e.mu.Lock()
	if version != e.version {
		e.version, e.byID = version, map[string]ems.Expansion{}
	}
	known, found := e.byID[id]
	e.mu.Unlock()
	if found {
		return known, nil
	}
	expansion, err := e.db.ExpandModel(ctx, id)
	if err != nil {
		return expansion, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if version == e.version { // else it may already be another
		e.byID[id] = expansion
	}
	return expansion, nil
}

// forget drops everything: Redis has newly appeared, and versions may begin again.
func (e *expansions) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version = ""
}
