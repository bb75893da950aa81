package notify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"

	"rotator/rotation/journal"
)

const (
	turnPace     = 30 * time.Second // how often a replica is handed the turn to deliver
	turnLength   = 28 * time.Second // how long it then delivers: over before the next may begin
	lookPace     = 2 * time.Second  // between two looks for new events, or for a turn
	pageSize     = 500              // events read at once
	firstPause   = time.Second      // after a failure, doubled with each in a row
	longPause    = 5 * time.Minute
	oldNews      = 24 * time.Hour  // a way out that is new to a journal begins with events younger than that
	failuresTold = 3               // after this many in a row the log says so, and again after as many more
	failingFor   = 5 * time.Minute // and an event, once they lasted this long
)

// out delivers the events of one journal over one channel.
type out struct {
	Options
	Channel
	all      func(context.Context, []journal.Event) error // takes every event, a page at once; nil: Sender takes the urgent ones
	pause    *backoff.ExponentialBackOff
	failures int       // in a row
	since    time.Time // when the first of them was
	told     bool      // an event tells that the channel fails
	sentAt   time.Time // when the last message went
	facts    map[string]knownFacts

	reminders   []Message // that are due and were not sent yet
	remindersAt time.Time // when they were made
}

// knownFacts are facts of a policy, and when they were read.
type knownFacts struct {
	Facts
	at time.Time
}

func newOut(o Options, c Channel) *out {
	return &out{Options: o, Channel: c, facts: make(map[string]knownFacts),
		pause: &backoff.ExponentialBackOff{InitialInterval: firstPause, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: longPause}}
}

// key names the channel's cursor and its chore in the journal.
func (o *out) key() string { return CursorOf(o.Name) }

// CursorOf names the place in the journal that says how far a channel came.
func CursorOf(channel string) string { return "notify/" + channel }

func (o *out) run(ctx context.Context) {
	o.pause.Reset()
	o.Observe(o.Name, 0)
	for ctx.Err() == nil {
		sleep(ctx, o.turn(ctx))
	}
}

// turn delivers for as long as this replica may, if it is its turn at all, and returns the pause until the next try.
func (o *out) turn(ctx context.Context) time.Duration {
	// The time runs from before the journal was asked: our turn is over before it hands out the next one.
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, turnLength)
	defer cancel()
	mine, err := o.Journal.Chore(ctx, o.Now(), o.key(), turnPace)
	if err == nil && !mine {
		return lookPace
	}
	cursor := int64(0)
	if err == nil {
		cursor, err = o.cursor(ctx)
	}
	if err != nil {
		if ctx.Err() != nil { // the turn ended, or the daemon stops
			return 0
		}
		return o.failed(ctx, err)
	}
	for ctx.Err() == nil {
		pause, began, sent := lookPace, time.Now(), o.sentAt
		if cursor, err = o.deliver(ctx, cursor); err == nil {
			err = o.remind(ctx)
		}
		switch {
		case err == nil:
			o.worked()
		case stopping.Err() != nil:
			return 0
		case ctx.Err() != nil && (!o.sentAt.Equal(sent) || time.Since(began) < sendTime): // the turn ended in the middle of work that went well
			return 0
		default:
			pause = o.failed(ctx, err)
		}
		if end, _ := ctx.Deadline(); time.Until(end) <= pause {
			return pause // another replica may be luckier meanwhile
		}
		sleep(ctx, pause)
	}
	return 0
}

// deliver sends the events after the cursor, and returns how far it came.
func (o *out) deliver(ctx context.Context, cursor int64) (int64, error) {
	for {
		found, err := o.Journal.Events(ctx, cursor, pageSize)
		if err != nil {
			return cursor, err
		}
		if o.all != nil && len(found) > 0 {
			// A crash before the cursor is saved delivers the page again.
			if err := o.all(ctx, found); err != nil {
				return cursor, fmt.Errorf("deliver events from %d: %w", found[0].ID, err)
			}
			o.sentAt = o.Now()
			o.worked()
		}
		saved, critical := cursor, false
		var waiting []Message
		for i, e := range found {
			m, mine, err := o.message(ctx, e)
			if err != nil {
				return cursor, errors.Join(err, o.save(ctx, saved, cursor))
			}
			if mine {
				waiting, critical = append(waiting, m), critical || m.Severity == Critical
			}
			if len(waiting) == 0 {
				cursor = e.ID
				continue
			}
			full, last := len(waiting) == o.Sender.Most(), i == len(found)-1
			if !full && !last {
				continue
			}
			if !full && !critical && o.Now().Sub(o.sentAt) < o.Every { // they go with those to come
				return cursor, o.save(ctx, saved, cursor)
			}
			if err := o.Sender.Send(ctx, waiting); err != nil {
				return cursor, errors.Join(fmt.Errorf("deliver event %d: %w", waiting[0].ID, err), o.save(ctx, saved, cursor))
			}
			// A crash before this line delivers the events again.
			if err := o.save(ctx, saved, e.ID); err != nil {
				return cursor, err
			}
			cursor, saved, waiting, critical, o.sentAt = e.ID, e.ID, nil, false, o.Now()
			o.worked()
		}
		// Events that are no news move the cursor once a page.
		if err := o.save(ctx, saved, cursor); err != nil {
			return cursor, err
		}
		if len(found) < pageSize {
			return cursor, nil
		}
	}
}

// factsLast is how long facts of a policy are used again: a storm of events asks for the same ones.
const factsLast = 10 * time.Second

// message is what the channel sends of an event; mine is false where that is nothing.
func (o *out) message(ctx context.Context, e journal.Event) (m Message, mine bool, err error) {
	if o.all != nil || !e.Kind.Urgent() || e.Kind == journal.ChannelFailed && e.Data["channel"] == o.Name {
		return m, false, nil
	}
	m = newMessage(e, Facts{}, o.Source)
	resolves, ok := o.Sender.(interface{ resolves(m Message) bool })
	if !o.Match.ofEvent(m) && !(ok && resolves.resolves(m)) { // before facts are asked for, which cost a query
		return m, false, nil
	}
	var f Facts
	if e.Policy != "" && o.Name != LogChannel { // the log has no use for them
		if f, err = o.factsOf(ctx, e.Policy); err != nil {
			return m, false, err
		}
	}
	m = newMessage(e, f, o.Source)
	return m, o.Match.ofPolicy(m), nil
}

func (o *out) factsOf(ctx context.Context, policy string) (Facts, error) {
	if f, ok := o.facts[policy]; ok && o.Now().Sub(f.at).Abs() < factsLast {
		return f.Facts, nil
	}
	f, err := o.Facts(ctx, policy)
	if err != nil {
		return f, err
	}
	if len(o.facts) > pageSize {
		clear(o.facts)
	}
	o.facts[policy] = knownFacts{f, o.Now()}
	return f, nil
}

// cursor is the id of the last event that was delivered or passed over.
func (o *out) cursor(ctx context.Context) (int64, error) {
	text, err := o.Journal.Meta(ctx, o.key())
	if err != nil {
		return 0, err
	}
	if text == "" {
		return o.begin(ctx)
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("meta %s is no event's id", o.key())
	}
	return id, nil
}

// begin passes over what is no news to anyone any more. The cursor is saved also where it is 0: from now on all is
// delivered, however long the receiver is down.
func (o *out) begin(ctx context.Context) (cursor int64, err error) {
	for news := o.all != nil; !news; {
		found, err := o.Journal.Events(ctx, cursor, pageSize)
		if err != nil {
			return 0, err
		}
		news = len(found) < pageSize
		for _, e := range found {
			if o.Now().Sub(e.At) < oldNews {
				news = true
				break
			}
			cursor = e.ID
		}
	}
	return cursor, o.Journal.SetMeta(ctx, o.key(), strconv.FormatInt(cursor, 10))
}

// save moves the cursor, also when the turn ended meanwhile: what was delivered shall not be delivered again.
func (o *out) save(ctx context.Context, from, to int64) error {
	if from == to {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnPace-turnLength)
	defer cancel()
	return o.Journal.SetMeta(ctx, o.key(), strconv.FormatInt(to, 10))
}

// worked notes that nothing failed.
func (o *out) worked() {
	if o.failures == 0 {
		return
	}
	if o.failures >= failuresTold {
		o.Log.Info("notifications are delivered again", "channel", o.Name, "failures", o.failures)
	}
	o.failures, o.told = 0, false
	o.pause.Reset()
	o.Observe(o.Name, 0)
}

// failed notes a failure and returns the pause before the next try.
func (o *out) failed(ctx context.Context, err error) time.Duration {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnPace-turnLength) // the turn may have ended meanwhile
	defer cancel()
	if o.failures++; o.failures == 1 {
		o.since = o.Now()
	}
	o.Observe(o.Name, o.failures)
	if o.failures%failuresTold == 0 {
		o.Log.Error("notifications are not delivered; delivery is retried forever", "channel", o.Name, "failures", o.failures, "err", err)
	}
	if o.failures >= failuresTold && !o.told && o.Now().Sub(o.since) >= failingFor {
		o.told = o.Journal.Record(ctx, journal.Event{At: o.Now(), Kind: journal.ChannelFailed, Data: map[string]string{"channel": o.Name, "error": err.Error()}}) == nil
	}
	pause := o.pause.NextBackOff()
	var later *laterError
	if errors.As(err, &later) {
		pause = max(pause, later.after)
	}
	return pause
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
