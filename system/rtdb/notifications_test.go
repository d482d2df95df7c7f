package rtdb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// take returns what a reader has next, as the ids of the alarms and the messages
// of rules.
func take(t testing.TB, b *bench, reader *rtdb.NotificationReader) (notices []rtdb.Notice, names []string) {
	t.Helper()
	notices, err := reader.Next(b.ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, notice := range notices {
		names = append(names, notice.Alarm+notice.Message)
	}
	return notices, names
}

func finish(t testing.TB, b *bench, reader *rtdb.NotificationReader, notices ...rtdb.Notice) {
	t.Helper()
	for _, notice := range notices {
		if err := reader.Finish(b.ctx, notice); err != nil {
			t.Fatal(err)
		}
	}
}

// lengths are those of both streams.
func (b *bench) lengths() [2]int64 {
	return [2]int64{b.raw.XLen(b.ctx, b.Namespace().Notifications()).Val(), b.raw.XLen(b.ctx, b.Namespace().Actions()).Val()}
}

func (b *bench) noticeStatus(t testing.TB, targets ...string) rtdb.NotificationStatus {
	t.Helper()
	status, err := b.NotificationStatus(b.ctx, targets)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// notifyRule is a rule that tells people each time that a value rises above 0.
func notifyRule(id, message, to string) ems.Rule {
	params := map[string]any{"message": message}
	if to != "" {
		params["to"] = to
	}
	return ems.Rule{
		ID: id, Conditions: []ems.Condition{{Source: "comsrv:1001:T:1", Operator: ">", Value: ems.Number(0)}},
		Actions: []ems.Action{{Type: ems.ActionNotify, Params: params}},
	}
}

func TestEachTargetHasItsOwnPlaceInTheStreams(t *testing.T) {
	t.Parallel()
	b := newBench(t, "{north}:")
	if err := b.UpsertRule(b.ctx, notifyRule("r", "hot", "night shift")); err != nil {
		t.Fatal(err)
	}
	targets := []string{"fast", "slow"}
	fast, slow := b.ReadNotifications("fast", targets), b.ReadNotifications("slow", targets)
	// Before anybody reads, everything waits for whoever will.
	b.raiseAbout(t, "pump-1", ems.Minor)
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 1})
	_, names := take(t, b, fast)
	expect(t, "taken before", len(names), 0)
	expect(t, "both wait", b.noticeStatus(t, targets...).Waiting, map[string]int64{"fast": 2, "slow": 2})
	first, names := take(t, b, fast)
	expect(t, "new", names, []string{"1", "hot"})
	expect(t, "whom to tell", first[1].To, "night shift")
	if first[0].ID == first[1].ID || !strings.HasPrefix(first[0].ID, "alarmsrv:") || !strings.HasPrefix(first[1].ID, "rulesrv:") {
		t.Errorf("the ids are %s and %s", first[0].ID, first[1].ID)
	}
	if age := time.Since(first[0].Queued); age < -time.Minute || age > time.Minute {
		t.Errorf("it was queued %v ago", age)
	}
	finish(t, b, fast, first...)
	expect(t, "the slow one has nothing yet", b.lengths(), [2]int64{1, 1})
	expect(t, "one waits", b.noticeStatus(t, targets...).Waiting, map[string]int64{"fast": 0, "slow": 2})

	b.raiseAbout(t, "pump-2", ems.Minor)
	_, names = take(t, b, slow)
	expect(t, "taken before", len(names), 0)
	second, names := take(t, b, slow)
	expect(t, "all", names, []string{"1", "2", "hot"})
	finish(t, b, slow, second[1]) // out of order
	expect(t, "the first is not finished", b.lengths(), [2]int64{2, 1})
	again, names := take(t, b, b.ReadNotifications("slow", targets)) // after a restart
	expect(t, "what was taken and not finished", names, []string{"1", "hot"})
	expect(t, "the same as before", again[0], second[0])
	finish(t, b, slow, again...)
	expect(t, "the fast one has not taken the second", b.lengths(), [2]int64{1, 0})
	third, names := take(t, b, fast)
	expect(t, "the rest", names, []string{"2"})
	finish(t, b, fast, third...)
	expect(t, "all are done", b.lengths(), [2]int64{0, 0})
}

func TestTheGroupOfATargetThatLeftIsRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	b.raiseAbout(t, "pump-1", ems.Minor)
	old := b.ReadNotifications("old", []string{"old", "stays"})
	take(t, b, old)
	take(t, b, old)
	// What the release before read with.
	if err := b.raw.XGroupCreateMkStream(b.ctx, "rulesrv:actions", "rulesrv", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.raw.HSet(b.ctx, "netsrv:lost", "old", 3, "stays", 4).Err(); err != nil {
		t.Fatal(err)
	}
	stays := b.ReadNotifications("stays", []string{"new", "stays"})
	take(t, b, stays)
	for _, stream := range []string{"alarmsrv:notifications", "rulesrv:actions"} {
		groups, err := b.raw.XInfoGroups(b.ctx, stream).Result()
		if err != nil || len(groups) != 2 || groups[0].Name != "new" || groups[1].Name != "stays" {
			t.Errorf("groups of %s: %+v, %v", stream, groups, err)
		}
	}
	status := b.noticeStatus(t, "new", "old", "stays")
	expect(t, "lost", status.Lost, map[string]int64{"new": 0, "old": 0, "stays": 4})
	expect(t, "waiting", status.Waiting, map[string]int64{"new": 1, "stays": 1})
	if _, err := old.Next(b.ctx, time.Millisecond); err == nil {
		t.Error("a reader of a group that is gone hears nothing of it")
	}
}

func TestWhatGivesWayInAFullStreamIsCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	settings := ems.DefaultAlarmSettings()
	settings.NotificationLimit, settings.FloodLimit = 10, 100_000
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	targets := []string{"away", "here"}
	away, here := b.ReadNotifications("away", targets), b.ReadNotifications("here", targets)
	for range 2 {
		take(t, b, away)
		take(t, b, here)
	}
	raise := func(from, to int) {
		for i := from; i <= to; i++ {
			b.raiseAbout(t, fmt.Sprintf("p-%d", i), ems.Info)
		}
	}
	raise(1, 4)
	take(t, b, away) // and does not finish
	raise(5, 10)
	notices, names := take(t, b, here)
	expect(t, "all of them", len(names), 10)
	finish(t, b, here, notices...)
	status := b.noticeStatus(t, targets...)
	expect(t, "nothing is lost yet", status, rtdb.NotificationStatus{Waiting: map[string]int64{"away": 10, "here": 0}, Lost: map[string]int64{"away": 0, "here": 0}})
	raise(11, 17) // seven give way: the four that were taken, and three that were not
	status = b.noticeStatus(t, targets...)
	expect(t, "three are lost", status, rtdb.NotificationStatus{
		Waiting: map[string]int64{"away": 14, "here": 7}, Lost: map[string]int64{"away": 3, "here": 0}, Dropped: 7,
	})
	// After a restart the four that were taken are gone as well.
	away = b.ReadNotifications("away", targets)
	for range 2 { // until nothing is found that was taken before
		_, names = take(t, b, away)
		expect(t, "gone", len(names), 0)
	}
	notices, names = take(t, b, away)
	expect(t, "the newest", names, []string{"8", "9", "10", "11", "12", "13", "14", "15", "16", "17"})
	finish(t, b, away, notices...)
	status = b.noticeStatus(t, targets...)
	expect(t, "seven are lost", status, rtdb.NotificationStatus{
		Waiting: map[string]int64{"away": 0, "here": 7}, Lost: map[string]int64{"away": 7, "here": 0}, Dropped: 7,
	})

	// A limit that is lowered is reached in steps, and every one is counted.
	settings.NotificationLimit = 1000
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	notices, _ = take(t, b, here)
	finish(t, b, here, notices...)
	expect(t, "all are done", b.lengths(), [2]int64{0, 0})
	raise(18, 317)
	settings.NotificationLimit = 50
	if err := b.ConfigureAlarms(b.ctx, settings); err != nil {
		t.Fatal(err)
	}
	raise(318, 318)
	expect(t, "a hundred give way", b.lengths(), [2]int64{201, 0})
	raise(319, 320)
	expect(t, "as many as fit", b.lengths(), [2]int64{50, 0})
	status = b.noticeStatus(t, targets...)
	expect(t, "all that gave way", []int64{status.Dropped, status.Lost["away"], status.Lost["here"]}, []int64{7 + 253, 7 + 253, 253})
}

func TestALongBacklogIsCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	const fill = "for i = 1, 2500 do redis.call('XADD', KEYS[1], '*', 'kind', 'alarm', 'time', '1') end return ''"
	if err := b.raw.Eval(b.ctx, fill, []string{"alarmsrv:notifications"}).Err(); err != nil {
		t.Fatal(err)
	}
	reader := b.ReadNotifications("duty", []string{"duty"})
	take(t, b, reader)
	expect(t, "waiting", b.noticeStatus(t, "duty").Waiting["duty"], int64(2500))
	notices, _ := take(t, b, reader)
	expect(t, "taken at once", len(notices), 100)
	expect(t, "waiting", b.noticeStatus(t, "duty").Waiting["duty"], int64(2500))
	finish(t, b, reader, notices[:40]...)
	expect(t, "waiting", b.noticeStatus(t, "duty").Waiting["duty"], int64(2460))
	expect(t, "left", b.lengths(), [2]int64{2460, 0})
}

func TestAnUnreadableNotificationIsPassedOver(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	for _, values := range [][]any{{"x", "1"}, {"kind", "bell", "time", "1"}, {"kind", "alarm", "alarm", "9", "value", "hot"}} {
		if err := b.raw.Do(b.ctx, append([]any{"XADD", "alarmsrv:notifications", "*"}, values...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b.raiseAbout(t, "pump-1", ems.Minor)
	reader := b.ReadNotifications("duty", []string{"duty"})
	take(t, b, reader)
	notices, names := take(t, b, reader)
	expect(t, "the readable one", names, []string{"1"})
	finish(t, b, reader, notices...)
	expect(t, "nothing is left", b.lengths(), [2]int64{0, 0})
}

func TestDeadLettersAreKeptAndBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	reader := b.ReadNotifications("duty", []string{"duty"})
	take(t, b, reader)
	const fill = "for i = 1, 1003 do redis.call('XADD', KEYS[1], '*', 'kind', 'alarm', 'alarm', i, 'time', '1') end return ''"
	if err := b.raw.Eval(b.ctx, fill, []string{"alarmsrv:notifications"}).Err(); err != nil {
		t.Fatal(err)
	}
	buried, dropped := 0, 0
	for {
		notices, _ := take(t, b, reader)
		if len(notices) == 0 && buried > 0 {
			break
		}
		for _, notice := range notices {
			buried++
			gone, err := reader.Bury(b.ctx, notice, rtdb.DeadLetter{
				Target: "duty", Notice: "north:" + notice.ID, Reason: "the target refused it", Attempts: buried, Time: start, Document: []byte(`{"alarm":"` + notice.Alarm + `"}`),
			})
			if err != nil {
				t.Fatal(err)
			}
			if gone {
				dropped++
			}
		}
	}
	expect(t, "buried, gave way", []int{buried, dropped}, []int{1003, 3})
	expect(t, "the streams", b.lengths(), [2]int64{0, 0})
	expect(t, "kept", b.noticeStatus(t, "duty").Dead, int64(1000))

	var all []rtdb.DeadLetter
	after := ""
	for {
		letters, next, err := b.DeadLetters(b.ctx, after, 333)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, letters...)
		if after = next; next == "" {
			break
		}
	}
	expect(t, "listed", len(all), 1000)
	newest := all[0]
	if !strings.HasPrefix(newest.Notice, "north:alarmsrv:") {
		t.Errorf("it is of %s", newest.Notice)
	}
	expect(t, "the newest", newest, rtdb.DeadLetter{
		ID: newest.ID, Notice: newest.Notice, Target: "duty", Reason: "the target refused it", Attempts: 1003, Time: start, Document: []byte(`{"alarm":"1003"}`),
	})
	if !slices.IsSortedFunc(all, func(a, b rtdb.DeadLetter) int { return b.Attempts - a.Attempts }) || all[999].Attempts != 4 {
		t.Errorf("the last is %+v", all[999])
	}
	one, err := b.DeadLetter(b.ctx, newest.ID)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "one", one, newest)
	if err := b.RemoveDeadLetter(b.ctx, newest.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeadLetter(b.ctx, newest.ID); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("one that was removed: %v", err)
	}
	for _, id := range []string{"x", "1", "1-x", "-"} {
		if _, err := b.DeadLetter(b.ctx, id); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("letter %s: %v", id, err)
		}
		if _, _, err := b.DeadLetters(b.ctx, id, 1); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("letters after %s: %v", id, err)
		}
	}
}

// TestNotificationsOnACluster: both streams are read by one call, which works as
// all keys of a site share a slot.
func TestNotificationsOnACluster(t *testing.T) {
	t.Parallel()
	for _, s := range newSites(t) {
		if err := s.UpsertRule(t.Context(), notifyRule("r", "hot", "")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.TriggerRule(t.Context(), "r", "test"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.StoreAlarm(t.Context(), ems.NewAlarm{Source: "pump", Level: ems.Minor, Title: "hot"}); err != nil {
			t.Fatal(err)
		}
		reader := s.ReadNotifications("duty", []string{"duty", "other"})
		var notices []rtdb.Notice
		for range 2 {
			list, err := reader.Next(t.Context(), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			notices = append(notices, list...)
		}
		if len(notices) != 2 {
			t.Fatalf("notifications: %+v", notices)
		}
		if err := reader.Finish(t.Context(), notices[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Bury(t.Context(), notices[1], rtdb.DeadLetter{Target: "duty", Document: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		letters, _, err := s.DeadLetters(t.Context(), "", 10)
		if err != nil || len(letters) != 1 {
			t.Fatalf("dead letters: %+v, %v", letters, err)
		}
		status, err := s.NotificationStatus(t.Context(), []string{"duty", "other"})
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "the status", status, rtdb.NotificationStatus{
			Waiting: map[string]int64{"duty": 0, "other": 2}, Lost: map[string]int64{"duty": 0, "other": 0}, Dead: 1,
		})
	}
}
