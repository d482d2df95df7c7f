package ems

import (
	"strconv"
	"strings"
)

// Namespace is the prefix of every key of one site. The empty namespace is a
// single site, whose keys carry no prefix. A named site is written "{north}:":
// the braces make it a Redis Cluster hash tag, so that all keys of a site live
// in one slot and every function can reach them.
type Namespace string

// NewNamespace builds the namespace of a site from its plain name, for example
// "north"; the empty name is the single site.
func NewNamespace(site string) (Namespace, error) {
	if site == "" {
		return "", nil
	}
	if err := CheckID("namespace", site); err != nil {
		return "", err
	}
	return Namespace("{" + site + "}:"), nil
}

// Site returns the plain name of the site, empty for a single site.
func (n Namespace) Site() string {
	return strings.TrimSuffix(strings.TrimPrefix(string(n), "{"), "}:")
}

// Of puts the namespace in front of a name: the form in which KEYS[1] of every
// function carries both.
func (n Namespace) Of(name string) string { return string(n) + name }

// Values is the hash of a channel's values of one type: point id -> number.
func (n Namespace) Values(channel ChannelID, t PointType) string {
	return n.Of("comsrv:" + channelText(channel) + ":" + t.String())
}

// Times is the hash of source times (Unix ms) beside Values.
func (n Namespace) Times(channel ChannelID, t PointType) string { return n.Values(channel, t) + ":ts" }

// Qualities is the hash of qualities beside Values; a good point has no field.
func (n Namespace) Qualities(channel ChannelID, t PointType) string {
	return n.Values(channel, t) + ":q"
}

// Status is the hash of a channel's state: online, errors, round trip, and for
// each poll group when it last succeeded.
func (n Namespace) Status(channel ChannelID) string {
	return n.Of("comsrv:" + channelText(channel) + ":status")
}

// Reverse is the hash that leads from the points of a channel and type to the
// models that name them: point -> "model:name model:name".
func (n Namespace) Reverse(channel ChannelID, t PointType) string {
	return n.Of("modsrv:reverse:" + channelText(channel) + ":" + t.String())
}

// Commands is the stream of a channel's commands.
func (n Namespace) Commands(channel ChannelID) string {
	return n.Of("comsrv:" + channelText(channel) + ":commands")
}

// Results is the stream of the outcomes of a channel's commands.
func (n Namespace) Results(channel ChannelID) string { return n.Commands(channel) + ":results" }

// RegisterWrites is the stream of what people wrote to registers of a channel
// without a point.
func (n Namespace) RegisterWrites(channel ChannelID) string {
	return n.Of("comsrv:" + channelText(channel) + ":registers")
}

// Updates is the pub/sub channel on which a field channel's changes are told.
func (n Namespace) Updates(channel ChannelID) string {
	return n.Of("comsrv:updates:" + channelText(channel))
}

// UpdatesPattern matches the Updates of every channel.
// A namespace holds no character that a pattern would take for a wildcard.
func (n Namespace) UpdatesPattern() string { return n.Of("comsrv:updates:*") }

// AlarmsNew is the pub/sub channel of alarm transitions.
func (n Namespace) AlarmsNew() string { return n.Of("alarmsrv:new") }

// AlarmsJournal is the stream of alarm transitions.
func (n Namespace) AlarmsJournal() string { return n.Of("alarmsrv:journal") }

// Notifications is the stream of what people are to be told of alarms.
func (n Namespace) Notifications() string { return n.Of("alarmsrv:notifications") }

// RulesTriggered is the pub/sub channel of rules that became active or idle.
func (n Namespace) RulesTriggered() string { return n.Of("rulesrv:triggered") }

// Actions is the stream of what people are to be told because rules say so.
func (n Namespace) Actions() string { return n.Of("rulesrv:actions") }

// NotificationsLost is the hash of how many notifications each target never got,
// because they gave way in a full stream.
func (n Namespace) NotificationsLost() string { return n.Of("netsrv:lost") }

// NotificationsDead is the stream of notifications that a target did not take.
func (n Namespace) NotificationsDead() string { return n.Of("netsrv:dead") }

// RuleEvents is the stream of changes of state of all rules.
func (n Namespace) RuleEvents() string { return n.Of("rulesrv:events") }

// HistoryStream is the stream of samples that wait to be written to history.
func (n Namespace) HistoryStream() string { return n.Of("hissrv:stream") }

// HistoryDead is the stream of samples that history refused.
func (n Namespace) HistoryDead() string { return n.Of("hissrv:dead") }

func channelText(channel ChannelID) string { return strconv.FormatUint(uint64(channel), 10) }

// APIPrefix begins the id of every model and rule that was made through the API.
// All other ids belong to the site folder, which is the truth about them: what it
// no longer names is removed.
const APIPrefix = "api-"

// MadeByAPI reports whether an id was made through the API.
func MadeByAPI(id string) bool { return strings.HasPrefix(id, APIPrefix) }

// MaxIDLength bounds the ids that people give to models, templates, rules,
// alarms and mappings, in bytes.
const MaxIDLength = 64

// CheckID refuses an id that could not be part of a key: the accepted form is a
// letter or digit, then letters, digits, '_', '-' and '.', at most MaxIDLength.
func CheckID(what, id string) error {
	const form = "use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit"
	if id == "" || len(id) > MaxIDLength {
		return Errorf(CodeInvalid, "%s %q has %d characters: %s", what, clip(id), len(id), form)
	}
	for i := range len(id) {
		c := id[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '_' && c != '-' && c != '.') {
			return Errorf(CodeInvalid, "%s %q has an unusable character %q: %s", what, clip(id), c, form)
		}
	}
	return nil
}

func clip(text string) string {
	if len(text) > MaxIDLength {
		return text[:MaxIDLength] + "…"
	}
	return text
}
