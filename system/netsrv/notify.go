package netsrv

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Pace of the notifications.
const (
	notifyWait  = time.Second // how long one call waits for the next notification
	notifyPause = time.Second // after an error of Redis
	// A target that fails at a notification may do so because of that notification:
	// after so many attempts, a quarter of an hour, it gives way to the next.
	failureLimit = 30
)

// logTarget stands in where a site names no target: nothing is told to nobody.
var logTarget = []config.NotifyTarget{{Name: "log", Log: true}}

// notifier brings notifications to one target, one after another. A target that
// is away delays only what is meant for itself.
type notifier struct {
	target  config.NotifyTarget
	forward *config.Forward
	site    string
	shown   string // where it is, without credentials
	post    post
	reader  *rtdb.NotificationReader
	clock   ems.Clock
	logger  *slog.Logger
	link    link

	delivered, dead, failed, overflowed prometheus.Counter
}

// newNotifiers makes one notifier for each target.
func newNotifiers(options Options, metrics *notifyMetrics) ([]*notifier, error) {
	forward := &options.Site.Forward
	targets := forward.Notify
	if len(targets) == 0 {
		targets = logTarget
	}
	var names []string
	for _, target := range targets {
		names = append(names, target.Name)
	}
	var notifiers []*notifier
	for _, target := range targets {
		shown, err := withoutCredentials(target.URL)
		if err != nil {
			return nil, err
		}
		if target.Log {
			shown = "log"
		}
		notifiers = append(notifiers, &notifier{
			target: target, forward: forward, site: options.Site.Name, shown: shown, post: newPost(target.URL, target.Authorization, target.Timeout),
			reader: options.DB.ReadNotifications(target.Name, names), clock: options.Clock, logger: options.Logger.With("target", target.Name),
			delivered: metrics.notifications.WithLabelValues(target.Name, "delivered"), dead: metrics.notifications.WithLabelValues(target.Name, "dead"),
			failed: metrics.failures.WithLabelValues(target.Name), overflowed: metrics.overflowed,
		})
	}
	return notifiers, nil
}

// run gives what comes until ctx ends: first what was taken before and not
// finished. A notification may be given twice when the service or Redis stops in
// between, and none is left out.
func (n *notifier) run(ctx context.Context) {
	defer n.post.close()
	timer := n.clock.NewTimer(notifyPause)
	defer timer.Stop()
	var lastFault ems.Code // the text of a fault may name another port each time
	for ctx.Err() == nil {
		notices, err := n.reader.Next(ctx, notifyWait)
		for _, notice := range notices {
			if err == nil {
				err = n.give(ctx, notice)
			}
		}
		if err == nil {
			lastFault = ""
			continue
		}
		if ctx.Err() == nil && ems.CodeOf(err) != lastFault {
			lastFault = ems.CodeOf(err)
			n.logger.Warn("notifications cannot be read; trying again", "error", err)
		}
		timer.Reset(notifyPause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
	}
}

// give returns when the target has taken a notification, or it is a dead letter,
// or ctx ends. What was decided is kept even when the service is told to stop.
func (n *notifier) give(ctx context.Context, notice rtdb.Notice) error {
	lasting := context.WithoutCancel(ctx)
	if !n.wants(&notice) {
		return n.reader.Finish(lasting, notice)
	}
	key := url.PathEscape(n.site) + ":" + notice.ID
	document, err := json.Marshal(document{ID: key, Site: n.site, Notification: notice.Notification})
	if err != nil {
		return ems.Errorf(ems.CodeInternal, "notification %s cannot be written as JSON: %w", key, err)
	}
	if n.target.Log {
		n.write(document)
		n.took()
		return n.reader.Finish(lasting, notice)
	}
	attempts, err := n.deliver(ctx, key, document, notice.Queued)
	switch {
	case err == nil:
		n.took()
		return n.reader.Finish(lasting, notice)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	overflow, err := n.reader.Bury(lasting, notice, rtdb.DeadLetter{
		Target: n.target.Name, Notice: key, Reason: err.Error(), Attempts: attempts, Time: n.clock.Now(), Document: document,
	})
	if err != nil {
		return err
	}
	n.link.count(0, 1)
	n.dead.Inc()
	if overflow {
		n.overflowed.Inc()
	}
	return nil
}

// document is the body of a request. ID is that of the header Idempotency-Key: a
// receiver that has seen it drops the repetition.
type document struct {
	ID   string `json:"id"`
	Site string `json:"site"`
	ems.Notification
}

// write is how a target that logs takes a notification.
func (n *notifier) write(document json.RawMessage) {
	n.logger.Warn("notification", "notification", document)
}

func (n *notifier) took() {
	n.link.count(1, 0)
	n.delivered.Inc()
}

// deliver sends a document until the target takes it, or can be expected never to,
// or ctx ends.
func (n *notifier) deliver(ctx context.Context, key string, document []byte, queued time.Time) (attempts int, err error) {
	pauses, failures := newPauses(), 0
	for {
		attempts++
		err = n.send(ctx, key, document)
		if err == nil || ctx.Err() != nil {
			return attempts, err
		}
		if ems.CodeOf(err) == ems.CodeInternal {
			failures++
		}
		if ems.CodeOf(err) == ems.CodeInvalid || failures >= failureLimit || n.clock.Now().Sub(queued) >= n.target.GiveUpAfter {
			n.logger.Error("a notification was not taken and is a dead letter now", "notification", json.RawMessage(document), "attempts", attempts, "error", err)
			return attempts, err
		}
		timer := n.clock.NewTimer(pauses.NextBackOff())
		select {
		case <-ctx.Done():
			timer.Stop()
			return attempts, ctx.Err()
		case <-timer.C():
		}
	}
}

// send sends a document once and keeps how that went.
func (n *notifier) send(ctx context.Context, key string, document []byte) error {
	err := n.post.send(ctx, document, http.Header{"Idempotency-Key": {key}})
	if err != nil && ctx.Err() != nil {
		return err
	}
	news := n.link.note(err)
	switch {
	case err == nil && news:
		n.logger.Info("notifications are delivered", "url", n.shown)
	case err != nil:
		n.failed.Inc()
		if news {
			n.logger.Warn("a notification could not be delivered", "url", n.shown, "error", err)
		}
	}
	return err
}

// wants reports whether a notification is for this target: because it names
// somebody whom the target tells, or because it names nobody and is of the kinds
// and levels of the target. A name that no target knows any more is nobody's. A
// summary of what has escalated is for whoever is told of escalations.
func (n *notifier) wants(notice *rtdb.Notice) bool {
	if notice.To != "" && n.forward.Answers(notice.To) {
		return n.target.Answers(notice.To)
	}
	if len(n.target.Kinds) > 0 && !slices.Contains(n.target.Kinds, notice.Kind) &&
		(notice.Escalated == "" || !slices.Contains(n.target.Kinds, ems.NotifyEscalation)) {
		return false
	}
	if len(n.target.Levels) == 0 || notice.Kind == ems.NotifyRule {
		return true
	}
	if notice.Kind != ems.NotifySummary {
		return slices.Contains(n.target.Levels, notice.Level)
	}
	// The end of a flood, in which nothing was left to be told, is for everybody.
	told := strings.Fields(notice.Levels + " " + notice.Escalated)
	return len(told) == 0 || slices.ContainsFunc(n.target.Levels, func(level ems.AlarmLevel) bool {
		return slices.Contains(told, string(level))
	})
}
