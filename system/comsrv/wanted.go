package comsrv

import (
	"fmt"
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// wanted is what the channels follow from: the site folder, the documents of those
// made through the API, and what is started or stopped by hand. It is not changed
// any more once it is in use.
type wanted struct {
	site     *config.Site
	made     map[ems.ChannelID]document
	switches map[ems.ChannelID]bool
	unfit    map[ems.ChannelID]string // why a channel cannot be used, or not as it is switched
}

// document says what a channel is that was made through the API.
type document struct {
	text    string
	channel *config.MadeChannel
	fault   string // why it cannot be read any more, in place of the channel
}

// with returns a copy that may be changed.
func (w *wanted) with() *wanted {
	return &wanted{site: w.site, made: maps.Clone(w.made), switches: maps.Clone(w.switches), unfit: w.unfit}
}

// says reports whether a channel is enabled, or not, by its own words: not where its
// document cannot be read.
func (w *wanted) says(id ems.ChannelID, enabled bool) (same, found bool) {
	if channel, inSite := w.site.Channel(id); inSite {
		return channel.Enabled == enabled, true
	}
	one, made := w.made[id]
	return made && one.channel != nil && one.channel.Enabled == enabled, made
}

// isAside reports whether a document waits because the site folder names its id.
func (w *wanted) isAside(id ems.ChannelID) bool {
	_, inSite := w.site.Channel(id)
	_, made := w.made[id]
	return inSite && made
}

// dropSwitches forgets what is said by hand of channels that have gone, or that
// say the same themselves, and returns those.
func (w *wanted) dropSwitches() []ems.ChannelID {
	var dropped []ems.ChannelID
	for id, enabled := range w.switches {
		if same, found := w.says(id, enabled); !found || same {
			dropped = append(dropped, id)
			delete(w.switches, id)
		}
	}
	return dropped
}

// entries returns every channel as it is to be.
func (w *wanted) entries() []entry {
	var entries []entry
	named := map[ems.ChannelID]bool{}
	for _, channel := range w.site.Channels {
		named[channel.ID] = true
		one := entry{Channel: channel}
		_, one.aside = w.made[channel.ID]
		if enabled, said := w.switches[channel.ID]; said && w.unfit[channel.ID] == "" {
			one.Enabled, one.switched = enabled, true
		}
		entries = append(entries, one)
	}
	for _, id := range slices.Sorted(maps.Keys(w.made)) {
		if named[id] {
			continue
		}
		one := entry{Channel: config.Channel{ID: id}, made: true, unfit: w.unfit[id]}
		if channel := w.made[id].channel; channel != nil {
			one.Channel = channel.Channel
		}
		if enabled, said := w.switches[id]; said {
			one.Enabled, one.switched = enabled, true
		}
		if one.unfit != "" {
			one.Enabled = false
		}
		entries = append(entries, one)
	}
	return entries
}

// judge finds out which channels cannot be used beside the others. A channel of
// the site folder, which fits by itself, then is not switched. What is set aside is
// not looked at.
func (w *wanted) judge() map[ems.ChannelID]error {
	w.unfit = map[ems.ChannelID]string{}
	all := map[ems.ChannelID]error{}
	for id, one := range w.made {
		if one.channel == nil && !w.isAside(id) {
			w.unfit[id], all[id] = one.fault, ems.Errorf(ems.CodeInvalid, "%s", one.fault)
		}
	}
	for {
		var site, switched []config.Channel // what is switched by hand is at fault before what is not
		var made []*config.MadeChannel
		for _, entry := range w.entries() {
			switch {
			case entry.made && entry.unfit == "":
				made = append(made, w.made[entry.ID].channel.Switched(entry.Enabled))
			case entry.made:
			case entry.switched:
				switched = append(switched, entry.Channel)
			default:
				site = append(site, entry.Channel)
			}
		}
		known := len(all)
		for id, err := range config.CheckTogether(append(site, switched...), made) {
			w.unfit[id], all[id] = err.Error(), err
		}
		if len(all) == known {
			return all
		}
	}
}

// fit refuses a change that leaves a channel unfit which was not, and the one that
// is changed in any case; 0 is none.
func (w *wanted) fit(before *wanted, changed ems.ChannelID, what string) error {
	faults := w.judge()
	if err := faults[changed]; err != nil {
		return err
	}
	var details []string
	for _, id := range slices.Sorted(maps.Keys(faults)) {
		if before.unfit[id] == "" {
			details = append(details, fmt.Sprintf("channel %d: %s", id, w.unfit[id]))
		}
	}
	if len(details) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeConflict, Message: what + ", because it leaves another channel unfit: " + details[0], Details: details}
}
