package comsrv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// maxDocuments bounds the documents of all channels made through the API together,
// in bytes: they are kept in memory. One has at most a request, 1 MiB.
const maxDocuments = 64 << 20

func (s *Service) addChangeRoutes() {
	s.server.Echo.POST("/api/channels", s.createChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.POST("/api/channels/reload", s.reload, httpserver.Parameters("dry_run"))
	s.server.Echo.POST("/api/channels/validate", s.validateChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.PUT("/api/channels/:channel", s.replaceChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.DELETE("/api/channels/:channel", s.deleteChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.POST("/api/channels/:channel/start", s.startChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.POST("/api/channels/:channel/stop", s.stopChannel, httpserver.Parameters("dry_run"))
	s.server.Echo.GET("/api/channels/:channel/document", s.getDocument, httpserver.Parameters())
}

// documentBody reads the body of a request that holds a channel, YAML or JSON.
// Lines end in one way in Redis.
func documentBody(c echo.Context) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	kinds := []string{echo.MIMEApplicationJSON, "application/yaml", "application/x-yaml", "text/yaml"}
	if err != nil || !slices.Contains(kinds, kind) {
		return nil, ems.Errorf(ems.CodeInvalid, "content type %q is neither application/yaml nor application/json", c.Request().Header.Get(echo.HeaderContentType))
	}
	text, err := io.ReadAll(c.Request().Body)
	var refused *echo.HTTPError
	if errors.As(err, &refused) {
		return nil, refused
	} else if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "the body cannot be read: %w", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\r"), []byte("\n")), nil
}

// proposal is what a request wants of the channels.
type proposal struct {
	next    *wanted
	channel ems.ChannelID // that must fit; 0 is none
	store   func(context.Context) error
}

// propose works out a change, and carries it out unless it is a dry run.
func (s *Service) propose(c echo.Context, dry bool, work func() (proposal, error)) (done differences, err error) {
	ctx := c.Request().Context()
	err = s.change(ctx, func() error {
		if !s.loaded {
			return ems.Errorf(ems.CodeUnavailable, "redis was not asked yet which channels were made through the API: try again when it answers")
		}
		if s.uncleared {
			if err := s.removeOld(ctx); err != nil {
				return err
			}
		}
		wants, err := work()
		if err != nil {
			return err
		}
		if err := wants.next.fit(s.wanted, wants.channel, "nothing is changed"); err != nil {
			return err
		}
		if err := s.checkModels(ctx, wants.next); err != nil {
			return err
		}
		done, err = s.alter(ctx, wants.next, dry, wants.store)
		return err
	})
	return done, err
}

// put is the change that a document asks for. What is there already is replaced
// where that is wanted, and refused where not.
func (s *Service) put(text []byte, id ems.ChannelID, mayCreate, mayReplace bool) (proposal, error) {
	channel, err := s.wanted.site.ParseChannel(text)
	if err != nil {
		return proposal{}, err
	}
	if id != 0 && channel.ID != id {
		return proposal{}, ems.Errorf(ems.CodeInvalid, "id %d in the body is not %d as in the path", channel.ID, id)
	}
	id = channel.ID
	if err := s.checkOwner(id); err != nil {
		return proposal{}, err
	}
	_, there := s.wanted.made[id]
	if there && !mayReplace {
		return proposal{}, ems.Errorf(ems.CodeConflict, "there is a channel %d already: replace it with PUT /api/channels/%d", id, id)
	}
	if !there && !mayCreate {
		return proposal{}, ems.Errorf(ems.CodeNotFound, "there is no channel %d: make it with POST /api/channels", id)
	}
	next := s.wanted.with()
	next.made[id] = document{text: string(text), channel: channel}
	delete(next.switches, id)
	bytes := 0
	for _, one := range next.made {
		bytes += len(one.text)
	}
	if bytes > maxDocuments {
		return proposal{}, ems.Errorf(ems.CodeFull, "the channels made through the API would have %d bytes together, more than the %d that fit: put some into the site folder",
			bytes, maxDocuments)
	}
	return proposal{next: next, channel: id, store: func(ctx context.Context) error {
		return s.db.StoreMade(ctx, rtdb.MadeChannel{ID: id, Document: string(text)})
	}}, nil
}

// checkOwner refuses to change by the API what the site folder says.
func (s *Service) checkOwner(id ems.ChannelID) error {
	if _, inSite := s.wanted.site.Channel(id); inSite {
		return ems.Errorf(ems.CodeConflict, "channel %d belongs to the site folder: change it in channels.yaml and points/, then POST /api/channels/reload", id)
	}
	return nil
}

func (s *Service) createChannel(c echo.Context) error {
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	return s.putChannel(c, 0, dry, true, false)
}

func (s *Service) replaceChannel(c echo.Context) error {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return err
	}
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	return s.putChannel(c, id, dry, false, true)
}

// validateChannel tells what is wrong with a channel, a new one or another in the
// place of one that was made through the API. Nothing is changed.
func (s *Service) validateChannel(c echo.Context) error {
	return s.putChannel(c, 0, true, true, true)
}

// trial is the answer to a dry run.
type trial struct {
	DryRun  bool        `json:"dry_run"`
	Channel channelView `json:"channel"` // as it would be, before it is polled
	Changes differences `json:"changes"`
}

func (s *Service) putChannel(c echo.Context, id ems.ChannelID, dry, mayCreate, mayReplace bool) error {
	text, err := documentBody(c)
	if err != nil {
		return err
	}
	var wants proposal
	done, err := s.propose(c, dry, func() (proposal, error) {
		wants, err = s.put(text, id, mayCreate, mayReplace)
		return wants, err
	})
	switch {
	case err != nil:
		return err
	case dry:
		would := &channel{Channel: wants.next.made[wants.channel].channel.Channel}
		view := would.view()
		view.Origin, view.Reason = originAPI, "it was not made: this was a dry run"
		return httpserver.OK(c, trial{DryRun: true, Channel: view, Changes: done})
	case id == 0:
		return httpserver.Created(c, s.viewOf(wants.channel))
	default:
		return httpserver.OK(c, s.viewOf(wants.channel))
	}
}

// viewOf returns a channel as it is now, nothing of one that has gone meanwhile.
func (s *Service) viewOf(id ems.ChannelID) any {
	roster := s.commands.roster.Load()
	if channel := roster.byID[id]; channel != nil {
		return roster.view(channel)
	}
	return nil
}

func (s *Service) deleteChannel(c echo.Context) error {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return err
	}
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	done, err := s.propose(c, dry, func() (proposal, error) {
		aside := s.wanted.isAside(id) // then its document goes, and the channel of the folder goes on
		if err := s.checkOwner(id); err != nil && !aside {
			return proposal{}, err
		}
		if _, found := s.wanted.made[id]; !found {
			return proposal{}, ems.Errorf(ems.CodeNotFound, "there is no channel %d", id)
		}
		next := s.wanted.with()
		delete(next.made, id)
		if !aside {
			delete(next.switches, id)
		}
		return proposal{next: next, channel: id, store: func(ctx context.Context) error {
			if err := s.db.DeleteMade(ctx, id); err != nil && ems.CodeOf(err) != ems.CodeNotFound {
				return err
			}
			if enabled, switched := next.switches[id]; switched { // Redis forgot it with the document
				return s.db.Switch(ctx, id, &enabled)
			}
			return nil
		}}, nil
	})
	if err != nil {
		return err
	}
	return httpserver.OK(c, done)
}

// startChannel and stopChannel serve the channels of the site folder too. What they
// say stays over restarts, until the folder or the document says the same.
func (s *Service) startChannel(c echo.Context) error { return s.switchChannel(c, true) }
func (s *Service) stopChannel(c echo.Context) error  { return s.switchChannel(c, false) }

func (s *Service) switchChannel(c echo.Context, enabled bool) error {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return err
	}
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	done, err := s.propose(c, dry, func() (proposal, error) {
		same, found := s.wanted.says(id, enabled)
		if !found {
			return proposal{}, ems.Errorf(ems.CodeNotFound, "there is no channel %d", id)
		}
		next, kept := s.wanted.with(), &enabled
		if next.switches[id] = enabled; same {
			delete(next.switches, id)
			kept = nil
		}
		started := id
		if !enabled { // also what cannot be used may be stopped
			started = 0
		}
		return proposal{next: next, channel: started, store: func(ctx context.Context) error { return s.db.Switch(ctx, id, kept) }}, nil
	})
	switch {
	case err != nil:
		return err
	case dry:
		return httpserver.OK(c, done)
	default:
		return httpserver.OK(c, s.viewOf(id))
	}
}

// getDocument replies with the document of a channel that was made through the
// API, as it came.
func (s *Service) getDocument(c echo.Context) error {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return err
	}
	text, found := "", false
	err = s.change(c.Request().Context(), func() error {
		one, made := s.wanted.made[id]
		text, found = one.text, made
		return nil
	})
	switch {
	case err != nil:
		return err
	case !found:
		return ems.Errorf(ems.CodeNotFound, "no channel %d was made through the API", id)
	default:
		return c.Blob(http.StatusOK, "application/yaml", []byte(text))
	}
}

// reload reads the site folder again and puts its channels in use, all of them or
// none. Those that stay the same go on.
func (s *Service) reload(c echo.Context) error {
	dry, err := httpserver.DryRun(c)
	if err != nil {
		return err
	}
	done, err := s.propose(c, dry, func() (proposal, error) {
		folder, err := s.readSite()
		if err != nil {
			return proposal{}, err
		}
		if folder.Namespace != s.wanted.site.Namespace {
			return proposal{}, ems.Errorf(ems.CodeConflict, "site.yaml now names the namespace %q, and the services run with %q: restart all of them",
				folder.Namespace.Site(), s.wanted.site.Namespace.Site())
		}
		next := s.wanted.with()
		next.site = folder
		for id, one := range next.made { // which may fit this folder and did not fit the one before, or the reverse
			next.made[id] = next.read(id, one.text)
		}
		dropped := next.dropSwitches()
		return proposal{next: next, store: func(ctx context.Context) error {
			for _, id := range dropped {
				if err := s.db.Switch(ctx, id, nil); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	})
	if err != nil {
		return err
	}
	return httpserver.OK(c, done)
}
