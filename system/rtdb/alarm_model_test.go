package rtdb_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// alarmModel is the life cycle of alarms once more, in plain Go.
type alarmModel struct {
	settings     ems.AlarmSettings
	now          time.Time
	sequence     int
	restarted    bool          // no alarm was raised since: ids leave out those that a crash may have lost
	alarms       []*modelAlarm // oldest first
	last         map[string]*modelAlarm
	shelved      map[string]ems.Shelving
	suppressions map[string]ems.Suppression
	due          map[string]time.Time
	journal      []string
	notices      []string
}

type modelAlarm struct {
	ems.Alarm
	recent     []time.Time
	activated  int64         // with which occurrence it became active or worse
	waitsSince time.Time     // at its level, to be acknowledged
	waited     time.Duration // how long of that when it escalated last
}

func newAlarmModel(settings ems.AlarmSettings) *alarmModel {
	return &alarmModel{
		settings: settings, last: map[string]*modelAlarm{}, shelved: map[string]ems.Shelving{},
		suppressions: map[string]ems.Suppression{}, due: map[string]time.Time{},
	}
}

func (a *modelAlarm) definition() string { return a.Rule + "|" + a.Source }

func (a *modelAlarm) aside() bool { return a.Shelved != nil || a.Suppressed }

func (m *alarmModel) find(id string) *modelAlarm {
	at := slices.IndexFunc(m.alarms, func(a *modelAlarm) bool { return a.ID == id })
	if at < 0 {
		return nil
	}
	return m.alarms[at]
}

func (m *alarmModel) note(event string, a *modelAlarm, from ems.AlarmState, by, text string) {
	m.journal = append(m.journal, fmt.Sprintf("%s %s %s>%s by %s %s #%d %q at %d", event, a.ID, from, a.State, by, a.Level, a.Occurrences, text, m.now.UnixMilli()))
}

func (m *alarmModel) notify(kind string, a *modelAlarm, text string) {
	m.notices = append(m.notices, fmt.Sprintf("%s %s %s %q", kind, a.ID, a.Level, text))
}

func (m *alarmModel) covered(a *modelAlarm) bool {
	for _, s := range m.suppressions {
		over := s.Until != nil && !m.now.Before(*s.Until)
		if !over && (s.Scope == ems.SuppressAll || s.Scope == ems.SuppressRule && s.Value == a.Rule ||
			s.Scope == ems.SuppressSource && strings.HasPrefix(a.Source, s.Value)) {
			return true
		}
	}
	return false
}

// nextStep returns the earliest step of an alarm's level that it has not waited
// for, and when it is due.
func (m *alarmModel) nextStep(a *modelAlarm) (next ems.EscalationStep, due time.Time, found bool) {
	for _, step := range m.settings.Escalation {
		if step.Level == a.Level && step.After > a.waited && (!found || step.After < next.After) {
			next, found = step, true
		}
	}
	return next, a.waitsSince.Add(next.After), found
}

func (m *alarmModel) schedule(a *modelAlarm) {
	if _, due, found := m.nextStep(a); found && !a.aside() {
		m.due["escalate:"+a.ID] = due
	}
}

// waitAnew begins to wait for somebody to acknowledge an alarm.
func (m *alarmModel) waitAnew(a *modelAlarm) {
	a.waitsSince = m.now
	m.schedule(a)
}

// configure takes other settings, which hold for the alarms that stand, too.
func (m *alarmModel) configure(settings ems.AlarmSettings) {
	changed := !slices.Equal(m.settings.Escalation, settings.Escalation)
	m.settings = settings
	if changed && slices.ContainsFunc(m.alarms, func(a *modelAlarm) bool { return a.State.Active() }) {
		m.due["reschedule:0"] = time.UnixMilli(0)
	}
}

func (m *alarmModel) reschedule() {
	for _, a := range m.alarms {
		if a.State.Active() {
			delete(m.due, "escalate:"+a.ID)
		}
		if a.State == ems.ActiveUnacknowledged {
			m.schedule(a)
		}
	}
}

func (m *alarmModel) raise(raised ems.NewAlarm) *modelAlarm {
	a := m.last[raised.Rule+"|"+raised.Source]
	if a == nil || a.State == ems.Closed {
		return m.begin(raised, a)
	}
	a.Occurrences++
	a.LastAt = m.now
	if raised.Value != nil {
		a.Value = raised.Value
		if raised.Worse != "" && (a.Worst == nil || raised.Worse == "high" && *raised.Value > *a.Worst || raised.Worse == "low" && *raised.Value < *a.Worst) {
			a.Worst = raised.Value
		}
	}
	base := cmp.Or(a.EscalatedFrom, a.Level)
	if a.State.Active() {
		if severer(raised.Level, base) {
			m.worsen(a, raised, base)
		}
		return a
	}
	if base != raised.Level {
		a.Level, a.EscalatedFrom, a.waited = raised.Level, "", 0
	}
	a.Title, a.Description, a.ClearedAt = raised.Title, raised.Description, nil
	a.Suppressed = a.Suppressed || m.covered(a)
	a.State = ems.ActiveUnacknowledged
	m.becomeActive(a, ems.AlarmReturned, ems.ClearedUnacknowledged)
	return a
}

func severer(level, than ems.AlarmLevel) bool {
	return slices.Index(ems.AlarmLevels[:], level) < slices.Index(ems.AlarmLevels[:], than)
}

// worsen takes an active alarm to a more severe level, or says that it has come
// to be as severe as it escalated to.
func (m *alarmModel) worsen(a *modelAlarm, raised ems.NewAlarm, base ems.AlarmLevel) {
	from, text := a.State, string(base+" to "+raised.Level)
	a.EscalatedFrom = raised.Level
	if !severer(a.Level, raised.Level) {
		a.Level, a.EscalatedFrom = raised.Level, ""
	}
	a.Title, a.Description, a.Acknowledged, a.AckedBy = raised.Title, raised.Description, nil, ""
	a.State, a.activated, a.waited = ems.ActiveUnacknowledged, a.Occurrences, 0
	a.Suppressed = a.Suppressed || m.covered(a)
	if a.Shelved != nil {
		text += ", shelved"
	} else if a.Suppressed {
		text += ", suppressed"
	}
	m.note(ems.AlarmWorsened, a, from, raiser(a), text)
	delete(m.due, "escalate:"+a.ID)
	m.waitAnew(a)
	if !a.aside() {
		m.notify("alarm", a, ems.AlarmWorsened)
	}
}

func raiser(a *modelAlarm) string {
	if a.Rule != "" {
		return "rule:" + a.Rule
	}
	return "operator"
}

func (m *alarmModel) begin(raised ems.NewAlarm, former *modelAlarm) *modelAlarm {
	m.sequence++
	if m.restarted && m.sequence > 1 {
		m.sequence += 100_000
	}
	m.restarted = false
	a := &modelAlarm{Alarm: ems.Alarm{
		ID: fmt.Sprint(m.sequence), Source: raised.Source, Rule: raised.Rule, Level: raised.Level, Title: raised.Title, Description: raised.Description,
		State: ems.ActiveUnacknowledged, Value: raised.Value, Occurrences: 1, RaisedAt: m.now, LastAt: m.now,
	}}
	if raised.Worse != "" {
		a.Worst = raised.Value
	}
	if former != nil {
		a.Chattering, a.recent = former.Chattering, slices.Clone(former.recent)
	}
	if shelving, found := m.shelved[a.definition()]; found {
		a.Shelved = &shelving
	}
	a.Suppressed = m.covered(a)
	m.alarms = append(m.alarms, a)
	m.last[a.definition()] = a
	m.becomeActive(a, ems.AlarmRaised, "")
	return a
}

// becomeActive is what follows when an alarm is raised or returns.
func (m *alarmModel) becomeActive(a *modelAlarm, event string, from ems.AlarmState) {
	text := ""
	if a.Shelved != nil {
		text = "shelved"
	} else if a.Suppressed {
		text = "suppressed"
	}
	m.note(event, a, from, raiser(a), text)
	a.recent, a.activated = append(a.recent, m.now), a.Occurrences
	a.recent = a.recent[max(0, len(a.recent)-m.settings.ChatterCount):]
	chatters := len(a.recent) == m.settings.ChatterCount && m.now.Sub(a.recent[0]) <= m.settings.ChatterPeriod
	if a.Chattering || chatters {
		m.due["chatter:"+a.definition()] = m.now.Add(m.settings.ChatterPeriod)
	}
	if !a.Chattering && chatters {
		a.Chattering = true
		m.note(ems.AlarmChatters, a, a.State, "alarmsrv", "")
	}
	m.waitAnew(a)
	if !a.aside() {
		m.notify("alarm", a, event)
	}
}

// move takes an alarm to a state and does what closing means.
func (m *alarmModel) move(a *modelAlarm, event string, to ems.AlarmState, by string) {
	from := a.State
	a.State = to
	if to == ems.Closed {
		a.Shelved, a.Suppressed = nil, false
	}
	delete(m.due, "escalate:"+a.ID)
	m.note(event, a, from, by, "")
}

func (m *alarmModel) acknowledge(a *modelAlarm, seen int64, by string) bool {
	to, possible := map[ems.AlarmState]ems.AlarmState{
		ems.ActiveUnacknowledged: ems.ActiveAcknowledged, ems.ClearedUnacknowledged: ems.Closed,
	}[a.State]
	if !possible || seen < a.activated || seen > a.Occurrences {
		return false
	}
	now := m.now
	a.Acknowledged, a.AckedBy = &now, by
	m.move(a, ems.AlarmAcknowledged, to, by)
	return true
}

func (m *alarmModel) clear(a *modelAlarm, by string) bool {
	if !a.State.Active() {
		return false
	}
	to, now := ems.ClearedUnacknowledged, m.now
	if a.State == ems.ActiveAcknowledged {
		to = ems.Closed
	}
	a.ClearedAt = &now
	m.move(a, ems.AlarmCleared, to, by)
	return true
}

func (m *alarmModel) shelve(a *modelAlarm, by, reason string, until time.Time) bool {
	if a.State == ems.Closed {
		return false
	}
	shelving := ems.Shelving{Until: until, By: by, Reason: reason}
	m.shelved[a.definition()], a.Shelved = shelving, &shelving
	delete(m.due, "escalate:"+a.ID)
	m.due["shelf:"+a.definition()] = until
	m.note(ems.AlarmShelved, a, a.State, by, reason)
	return true
}

func (m *alarmModel) unshelve(definition, by, text string) bool {
	if _, found := m.shelved[definition]; !found {
		return false
	}
	delete(m.shelved, definition)
	delete(m.due, "shelf:"+definition)
	a := m.last[definition]
	if a == nil || a.State == ems.Closed {
		m.note(ems.AlarmUnshelved, &modelAlarm{}, "", by, text)
		return true
	}
	a.Shelved = nil
	m.note(ems.AlarmUnshelved, a, a.State, by, text)
	m.showAgain(a, ems.AlarmUnshelved)
	return true
}

func (m *alarmModel) showAgain(a *modelAlarm, why string) {
	if a.State.Active() && !a.aside() {
		m.notify("alarm", a, why)
		if a.State == ems.ActiveUnacknowledged {
			m.waitAnew(a)
		}
	}
}

func (m *alarmModel) suppress(s ems.Suppression) bool {
	if _, found := m.suppressions[s.ID]; found {
		return false
	}
	m.suppressions[s.ID] = s
	if s.Until != nil {
		m.due["suppression:"+s.ID] = *s.Until
	}
	m.note(ems.AlarmSuppressed, &modelAlarm{}, "", s.By, s.ID+": "+s.Reason)
	return true
}

func (m *alarmModel) unsuppress(id, by string) bool {
	if _, found := m.suppressions[id]; !found {
		return false
	}
	delete(m.suppressions, id)
	delete(m.due, "suppression:"+id)
	m.note(ems.AlarmUnsuppressed, &modelAlarm{}, "", by, id)
	for _, a := range m.alarms {
		if a.Suppressed && !m.covered(a) {
			a.Suppressed = false
			m.note(ems.AlarmUnsuppressed, a, a.State, "alarmsrv", "")
			m.showAgain(a, ems.AlarmUnsuppressed)
		}
	}
	return true
}

func (m *alarmModel) escalate(a *modelAlarm) {
	if a == nil || a.State != ems.ActiveUnacknowledged || a.aside() {
		return
	}
	step, due, found := m.nextStep(a)
	switch {
	case !found:
	case due.After(m.now):
		m.schedule(a)
	case m.covered(a):
		m.waitAnew(a)
	case step.To == "":
		a.waited = step.After
		m.note(ems.AlarmEscalated, a, a.State, "alarmsrv", step.Notify)
		m.notify("escalation", a, step.Notify)
		m.schedule(a)
	default:
		a.waited, a.EscalatedFrom = 0, cmp.Or(a.EscalatedFrom, a.Level)
		text := string(a.Level + " to " + step.To)
		a.Level = step.To
		m.note(ems.AlarmEscalated, a, a.State, "alarmsrv", text)
		m.notify("escalation", a, step.Notify)
		m.waitAnew(a)
	}
}

func (m *alarmModel) endChatter(definition string) {
	a := m.last[definition]
	if a == nil || !a.Chattering {
		return
	}
	a.Chattering = false
	m.note(ems.AlarmQuiet, a, a.State, "alarmsrv", "")
}

// tick does what is due, once for each, and says whether more has become due.
func (m *alarmModel) tick() (done int, more bool) {
	var members []string
	for member, at := range m.due {
		if !at.After(m.now) {
			members = append(members, member)
		}
	}
	at := maps.Clone(m.due)
	slices.SortFunc(members, func(a, b string) int { return cmp.Or(at[a].Compare(at[b]), cmp.Compare(a, b)) })
	for _, member := range members {
		delete(m.due, member)
		what, whom, _ := strings.Cut(member, ":")
		switch what {
		case "escalate":
			m.escalate(m.find(whom))
		case "reschedule":
			m.reschedule()
		case "shelf":
			m.unshelve(whom, "alarmsrv", "expired")
		case "suppression":
			m.unsuppress(whom, "alarmsrv")
		case "chatter":
			m.endChatter(whom)
		}
	}
	for _, at := range m.due {
		more = more || !at.After(m.now)
	}
	return len(members), more
}

func (m *alarmModel) cleanUp(keep int) int {
	var closed []*modelAlarm
	for _, a := range m.alarms {
		if a.State == ems.Closed {
			closed = append(closed, a)
		}
	}
	slices.SortStableFunc(closed, func(a, b *modelAlarm) int { return closedAt(&a.Alarm).Compare(closedAt(&b.Alarm)) })
	surplus := max(0, len(closed)-keep)
	for _, gone := range closed[:surplus] {
		m.alarms = slices.DeleteFunc(m.alarms, func(a *modelAlarm) bool { return a == gone })
		if m.last[gone.definition()] == gone {
			delete(m.last, gone.definition())
		}
	}
	return surplus
}

// closedAt is when an alarm closed: the later of clearing and acknowledging.
func closedAt(alarm *ems.Alarm) time.Time {
	if alarm.Acknowledged.After(*alarm.ClearedAt) {
		return *alarm.Acknowledged
	}
	return *alarm.ClearedAt
}
