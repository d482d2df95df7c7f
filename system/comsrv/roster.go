package comsrv

import (
	"reflect"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// entry is a channel as it is to be, and where that is said.
type entry struct {
	config.Channel
	made     bool   // through the API
	aside    bool   // in the site folder, while one of this id was made through the API too
	switched bool   // enabled, or not, by hand
	unfit    string // why it cannot be used; empty where it can
}

// same reports whether the channel of one entry can go on as that of the other.
func (e *entry) same(other *entry) bool {
	return e.made == other.made && e.unfit == other.unfit && reflect.DeepEqual(e.Channel, other.Channel)
}

// roster is the channels that there are at one moment. It is never changed: another
// takes its place, so that everybody sees one whole set.
type roster struct {
	channels []*channel // those of the site in its order, then those made through the API by id
	entries  []entry    // of the same
	ids      []ems.ChannelID
	byID     map[ems.ChannelID]*channel
	places   map[ems.ChannelID]int
}

func newRoster(entries []entry, channels ...*channel) *roster {
	made := &roster{channels: channels, entries: entries, byID: map[ems.ChannelID]*channel{}, places: map[ems.ChannelID]int{}}
	for i, channel := range channels {
		made.ids = append(made.ids, channel.ID)
		made.byID[channel.ID], made.places[channel.ID] = channel, i
	}
	return made
}

// enabled returns those that are polled.
func (r *roster) enabled() []*channel {
	var list []*channel
	for _, channel := range r.channels {
		if channel.Enabled {
			list = append(list, channel)
		}
	}
	return list
}

// Who made a channel.
const (
	originSite = "site"
	originAPI  = "api"
)

// view is a channel as the API shows it.
func (r *roster) view(channel *channel) channelView {
	view := channel.view()
	view.Origin = originSite
	if place, found := r.places[channel.ID]; found {
		entry := &r.entries[place]
		if entry.made {
			view.Origin = originAPI
		}
		view.Switched, view.Aside = entry.switched, entry.aside
	}
	return view
}
