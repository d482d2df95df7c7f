package comsrv

import (
	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

func (s *Service) addTableRoutes() {
	s.server.Echo.GET("/api/channels/:channel/tables", s.exportTables, httpserver.Parameters())
	s.server.Echo.POST("/api/channels/:channel/tables/diff", s.compareTables, httpserver.Parameters())
}

// exportTables replies with the tables of a channel as they are in use, CSV by
// name.
func (s *Service) exportTables(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	return httpserver.OK(c, channel.Tables())
}

// How given tables are taken.
const (
	modeMerge     = "merge"     // into those that there are
	modeOverwrite = "overwrite" // in their place, all of them
)

// tablesTrial is what would become of a channel with other tables.
type tablesTrial struct {
	Differences config.TableDifferences `json:"differences"`
	Tables      map[string]string       `json:"tables"`             // all of them, as they would be
	Document    string                  `json:"document,omitempty"` // of a channel made through the API, for PUT
}

// compareTables tells what other tables would do to a channel, or everything that
// is wrong with them. Nothing is changed: the document of a channel that was made
// through the API is for PUT, and tables of the site folder belong there.
func (s *Service) compareTables(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	var request struct {
		Mode   string            `json:"mode"`
		Tables map[string]string `json:"tables"`
	}
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	if request.Mode != modeMerge && request.Mode != modeOverwrite {
		return ems.Errorf(ems.CodeInvalid, "mode %q: use %s, or %s, which removes what the tables do not name", request.Mode, modeMerge, modeOverwrite)
	}
	if len(request.Tables) == 0 {
		return ems.Errorf(ems.CodeInvalid, `there are no tables: send {"mode": "merge", "tables": {"telemetry": "point_id,…"}}`)
	}
	revised, err := channel.Revised(request.Tables, request.Mode == modeMerge)
	if err != nil {
		return err
	}
	trial := tablesTrial{Differences: config.CompareTables(&channel.Channel, revised), Tables: revised.Tables()}
	err = s.change(c.Request().Context(), func() error {
		roster := s.commands.roster.Load()
		made, known := s.wanted.made[channel.ID]
		if place, found := roster.places[channel.ID]; !known || !found || !roster.entries[place].made {
			return nil
		}
		if trial.Document, err = config.WithTables(made.text, trial.Tables); err != nil {
			return err
		}
		_, err := s.wanted.site.ParseChannel([]byte(trial.Document))
		return err
	})
	if err != nil {
		return err
	}
	return httpserver.OK(c, trial)
}
