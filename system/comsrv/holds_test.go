package comsrv

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// held is a channel whose two adjustments have safe values: A:1 (register 10, x
// 0.5) 3, A:2 (float at 12) 5.
func held(address string) config.Channel {
	entry := field(1, address, allKinds()...)
	entry.Points[5].SafeValue, entry.Points[6].SafeValue = number(3), number(5)
	return entry
}

// holding asks for a value that holds for a time.
func holding(id string, point ems.PointID, value float64, hold time.Duration) ems.Command {
	asked := command(id, ems.Adjustment, point, value)
	asked.Hold = hold
	return asked
}

// done sends a command and waits until it is done.
func (p *plant) done(asked ems.Command) {
	p.t.Helper()
	p.send(asked)
	p.wantEnd(asked, ems.CommandDone, number(asked.Value), "")
}

// awaitShown waits until Redis has a value of an adjustment of channel 1.
func (p *plant) awaitShown(point, value string) {
	p.t.Helper()
	p.eventually(func() error {
		if shown := p.hash("comsrv:1:A")[point]; shown != value {
			return fmt.Errorf("A:%s is %s", point, shown)
		}
		return nil
	}, "A:"+point+" is "+value)
}

// awaitNoHolds waits until no value is to be followed by another.
func (p *plant) awaitNoHolds() {
	p.t.Helper()
	p.eventually(func() error {
		count, err := p.Raw.Exists(context.Background(), "comsrv:holds", "comsrv:1:holds").Result()
		if err == nil && count != 0 {
			err = fmt.Errorf("%v %v", p.Raw.ZRangeWithScores(context.Background(), "comsrv:holds", 0, -1).Val(), p.hash("comsrv:1:holds"))
		}
		return err
	}, "there is no hold")
}

// count returns how often a device was written something.
func (d *device) count(write string) int {
	count := 0
	for _, written := range d.written() {
		if written == write {
			count++
		}
	}
	return count
}

func passed(at time.Time) {
	for !time.Now().After(at.Add(time.Millisecond)) {
		time.Sleep(time.Millisecond)
	}
}

// TestAValueHoldsForItsTime, and is followed by the safe value, once.
func TestAValueHoldsForItsTime(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, 500*time.Millisecond))
	p.awaitShown("1", "3.000000")
	p.awaitNoHolds()
	p.wantEmptyStream()
	if diff := cmp.Diff([]string{"6@10=40", "6@10=6"}, d.written()); diff != "" {
		t.Error(diff)
	}
	entries, err := p.Raw.XRevRangeN(t.Context(), "comsrv:1:commands:results", "+", "-", 1).Result()
	if err != nil || entries[0].Values["state"] != "done" || entries[0].Values["value"] != "3.000000" {
		t.Errorf("%v, %v", entries, err)
	}
	if safe := p.await(entries[0].Values["id"].(string)); safe.State != ems.CommandDone || *safe.ReadBack != 3 {
		t.Errorf("%+v", safe)
	}
}

// TestWhatEndsAHold: a newer command that was done, and no other. The hold of
// another point, which is due later, is the witness that its time is over.
func TestWhatEndsAHold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		value  float64
		hold   time.Duration
		origin string
		refuse byte // the exception of the device
		want   ems.CommandState
		fires  bool
	}{
		"renewed":             {21, time.Hour, "test", 0, ems.CommandDone, false},
		"for ever":            {21, 0, "test", 0, ems.CommandDone, false},
		"does not fit":        {40000, time.Hour, "test", 0, ems.CommandFailed, true},
		"refused":             {21, 0, "test", 3, ems.CommandFailed, true},
		"safe, of other hold": {3, 0, "hold:77", 0, ems.CommandFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			p := newPlant(t, held(d.address))
			p.start()
			p.awaitStatus(1, true, "")
			p.done(holding("older", 1, 20, 3*time.Second))
			if test.refuse > 0 {
				d.set(func() { d.refuse[6] = test.refuse })
			}
			newer := holding("newer", 1, test.value, test.hold)
			newer.Origin = test.origin
			p.send(newer)
			if ended := p.await("newer"); ended.State != test.want {
				t.Fatalf("%+v", ended)
			}
			d.set(func() { delete(d.refuse, 6) })
			p.done(holding("witness", 2, 50, 3500*time.Millisecond))
			p.awaitShown("2", "5.000000")
			if test.fires {
				p.awaitShown("1", "3.000000")
				p.awaitNoHolds()
			}
			if fired := d.count("6@10=6"); fired != map[bool]int{true: 1}[test.fires] {
				t.Errorf("the safe value was written %d times: %v", fired, d.written())
			}
		})
	}
}

// TestSafeValueAfterARestart: comsrv is down when the value is due.
func TestSafeValueAfterARestart(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, 300*time.Millisecond))
	p.done(holding("b", 2, 50, 300*time.Millisecond))
	p.stop()
	passed(time.Now().Add(300 * time.Millisecond))
	newer := holding("newer", 2, 60, 0) // it waits for comsrv
	p.send(newer)
	p.start()
	p.awaitShown("1", "3.000000")
	p.awaitShown("2", "60.000000")
	p.awaitNoHolds()
	p.wantEmptyStream()
	written := d.written()
	if d.count("6@10=6") != 1 || d.count("16@12=2") > 3 || written[0] != "6@10=40" {
		t.Error(written)
	}
	p.stop()
	p.start()
	p.done(command("last", ems.Control, 1, 1))
	if again := d.written(); len(again) != len(written)+1 || !slices.Equal(again[:len(written)], written) {
		t.Errorf("a restart wrote again: %v after %v", again, written)
	}
}

// TestSafeValueWaitsForTheDevice, and for Redis.
func TestSafeValueWaitsForTheDevice(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, time.Second))
	d.off()
	due := time.Now().Add(time.Second)
	p.Redis.Restart()
	passed(due)
	d.on()
	p.awaitShown("1", "3.000000")
	p.awaitNoHolds()
	if diff := cmp.Diff([]string{"6@10=40", "6@10=6"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

// TestUnansweredSafeValueIsNotWrittenTwice: the device took it and did not say so,
// which its next poll shows.
func TestUnansweredSafeValueIsNotWrittenTwice(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := held(d.address)
	entry.Timeout = time.Second
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, time.Second))
	d.set(func() { d.silent[6] = true })
	p.awaitNoHolds()
	if diff := cmp.Diff([]string{"6@10=40", "6@10=6"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

// TestSafeValueThatIsNotInForceIsWrittenAgain, because the device shows that it is
// not.
func TestSafeValueThatIsNotInForceIsWrittenAgain(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, time.Second))
	d.set(func() { d.stick[10] = 40 })
	p.eventually(func() error {
		if tries := d.count("6@10=6"); tries < 2 {
			return fmt.Errorf("%d attempts", tries)
		}
		return nil
	}, "a second attempt")
	d.set(func() { delete(d.stick, 10); d.holding[10] = 40 })
	p.awaitShown("1", "3.000000")
	p.awaitNoHolds()
}

// TestAWriteWithoutAnswerHolds: whether the device took it is not known, and its
// time runs.
func TestAWriteWithoutAnswerHolds(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := held(d.address)
	entry.Timeout = time.Second
	d.set(func() { d.silent[6] = true })
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	asked := holding("a", 1, 20, 100*time.Millisecond)
	p.send(asked)
	if ended := p.await("a"); ended.State != ems.CommandUnknown {
		t.Fatalf("%+v", ended)
	}
	d.set(func() { delete(d.silent, 6) })
	p.awaitShown("1", "3.000000")
	p.awaitNoHolds()
	if diff := cmp.Diff([]string{"6@10=40", "6@10=6"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

// TestHoldNeedsASafeValue, and one whose point lost it ends.
func TestHoldNeedsASafeValue(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.start()
	p.awaitStatus(1, true, "")
	none := command("none", ems.Control, 1, 1)
	none.Hold = time.Second
	p.send(none)
	p.wantEnd(none, ems.CommandFailed, nil, "start cannot hold a value for a time alone: its table has no safe_value to follow it")
	p.done(holding("a", 1, 20, time.Second))
	p.stop()
	p.site.Channels[0].Points[5].SafeValue = nil
	p.start()
	p.awaitNoHolds()
	if diff := cmp.Diff([]string{"6@10=40"}, d.written()); diff != "" {
		t.Error(diff)
	}
}

// TestAHoldThatCannotEndKeepsOffNoOther: what Redis has of the commands of its channel
// cannot be read.
func TestAHoldThatCannotEndKeepsOffNoOther(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	first, second := held(d.address), held(d.address)
	second.ID = 2
	p := newPlant(t, first, second)
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(2, true, "")
	p.done(holding("a", 1, 20, time.Second))
	due, err := p.Raw.ZRangeWithScores(t.Context(), "comsrv:holds", 0, -1).Result()
	if err != nil || len(due) != 1 {
		t.Fatalf("%v, %v", due, err)
	}
	if err := p.Raw.Set(t.Context(), fmt.Sprintf("comsrv:1:command:hold-A1-%.0f-1", due[0].Score), "no hash", 0).Err(); err != nil {
		t.Fatal(err)
	}
	later := holding("b", 2, 50, 1500*time.Millisecond)
	later.Target.Channel = 2
	p.send(later)
	p.eventually(func() error {
		if stored := p.hash("comsrv:2:A")["2"]; stored != "5.000000" {
			return fmt.Errorf("A:2 is %s", stored)
		}
		return nil
	}, "the safe value of the other")
	if waits := p.Raw.ZRange(t.Context(), "comsrv:holds", 0, -1).Val(); !slices.Contains(waits, "1:A:1") {
		t.Errorf("the first hold has ended: %v", waits)
	}
}
