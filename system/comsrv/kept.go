package comsrv

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// load asks Redis for the channels that were made through the API, and for what is
// started and stopped by hand, and puts them in use. What does not fit the site
// any more is there and not used. The caller is in change.
func (s *Service) load(ctx context.Context) error {
	made, err := s.db.MadeChannels(ctx)
	if err != nil {
		return err
	}
	switches, err := s.db.Switches(ctx)
	if err != nil {
		return err
	}
	next := s.wanted.with()
	next.switches = switches
	for _, one := range made {
		next.made[one.ID] = next.read(one.ID, one.Document)
	}
	next.dropSwitches()
	faults := next.judge()
	for _, id := range slices.Sorted(maps.Keys(faults)) {
		s.logger.Error("a channel made or switched through the API does not fit the site and is not used so", "channel", id, "error", faults[id])
	}
	s.wanted, s.loaded = next, true
	p := compare(s.commands.roster.Load(), next.entries())
	for _, id := range p.Aside {
		s.logger.Warn("channels.yaml names a channel that was made through the API: that of the site folder is used", "channel", id)
	}
	s.carry(context.WithoutCancel(ctx), p)
	return nil
}

// read reads a document as it was kept.
func (w *wanted) read(id ems.ChannelID, text string) document {
	channel, err := w.site.ParseChannel([]byte(text))
	if err == nil && channel.ID != id {
		err = fmt.Errorf("its document is of channel %d", channel.ID)
	}
	if err != nil {
		return document{text: text, fault: err.Error()}
	}
	return document{text: text, channel: channel}
}

// keep makes sure that Redis holds the channels made through the API, and what is
// switched by hand: it may have lost some, or have come back with older ones.
func (s *Service) keep(ctx context.Context) error {
	if !s.loaded {
		return s.load(ctx)
	}
	stored, err := s.db.MadeChannels(ctx)
	if err != nil {
		return err
	}
	same := map[ems.ChannelID]bool{}
	for _, one := range stored {
		mine, known := s.wanted.made[one.ID]
		same[one.ID] = known && mine.text == one.Document
		if known {
			continue
		}
		if err := s.db.DeleteMade(ctx, one.ID); err != nil {
			return err
		}
	}
	for id, one := range s.wanted.made {
		if same[id] {
			continue
		}
		if err := s.db.StoreMade(ctx, rtdb.MadeChannel{ID: id, Document: one.text}); err != nil {
			return err
		}
	}
	switches, err := s.db.Switches(ctx)
	if err != nil {
		return err
	}
	for id := range switches {
		if _, known := s.wanted.switches[id]; known {
			continue
		}
		if err := s.db.Switch(ctx, id, nil); err != nil {
			return err
		}
	}
	for id, enabled := range s.wanted.switches {
		if found, known := switches[id]; known && found == enabled {
			continue
		}
		if err := s.db.Switch(ctx, id, &enabled); err != nil {
			return err
		}
	}
	return nil
}
