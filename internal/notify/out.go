package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	oldNews      = 24 * time.Hour // a way out that is new to a journal begins with events younger than that
	failuresTold = 3              // after this many in a row the log says so, and again after as many more
)

// out delivers the events of one journal over one sink.
type out struct {
	name     string
	journal  Journal
	sink     sink
	all      func(context.Context, []journal.Event) error // takes every event, a page at once; nil: the sink takes the urgent ones
	log      *slog.Logger
	now      func() time.Time
	observe  func(sink string, failures int)
	pause    *backoff.ExponentialBackOff
	failures int // in a row
}

func newOut(o Options, name string, s sink) *out {
	return &out{
		name: name, journal: o.Journal, sink: s, log: o.Log, now: o.Now, observe: o.Observe,
		pause: &backoff.ExponentialBackOff{InitialInterval: firstPause, RandomizationFactor: 0.2, Multiplier: 2, MaxInterval: longPause},
	}
}

// key names the sink's cursor and its chore in the journal.
func (o *out) key() string { return "notify/" + o.name }

func (o *out) run(ctx context.Context) {
	o.pause.Reset()
	o.observe(o.name, 0)
	for ctx.Err() == nil {
		sleep(ctx, o.turn(ctx))
	}
}

// turn delivers for as long as this replica may, if it is its turn at all, and returns the pause until the next try.
func (o *out) turn(ctx context.Context) time.Duration {
	// The time runs from before the journal was asked: our turn is over before it hands out the next one.
	ctx, cancel := context.WithTimeout(ctx, turnLength)
	defer cancel()
	mine, err := o.journal.Chore(ctx, o.now(), o.key(), turnPace)
	if err == nil && !mine {
		return lookPace
	}
	cursor := int64(0)
	if err == nil {
		cursor, err = o.cursor(ctx)
	}
	if err != nil {
		return o.failed(ctx, err)
	}
	for ctx.Err() == nil {
		pause := lookPace
		if cursor, err = o.deliver(ctx, cursor); err != nil {
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
		found, err := o.journal.Events(ctx, cursor, pageSize)
		if err != nil {
			return cursor, err
		}
		saved := cursor
		if o.all != nil && len(found) > 0 {
			// A crash before the cursor is saved delivers the page again.
			if err := o.all(ctx, found); err != nil {
				return cursor, fmt.Errorf("deliver events from %d: %w", found[0].ID, err)
			}
			o.worked()
		}
		for _, e := range found {
			if o.all == nil && e.Kind.Urgent() {
				if err := o.sink.send(ctx, e); err != nil {
					return cursor, errors.Join(fmt.Errorf("deliver event %d: %w", e.ID, err), o.save(ctx, saved, cursor))
				}
				// A crash before this line delivers the event again.
				if err := o.save(ctx, saved, e.ID); err != nil {
					return cursor, err
				}
				saved = e.ID
				o.worked()
			}
			cursor = e.ID
		}
		// Events that are no news move the cursor once a page.
		if err := o.save(ctx, saved, cursor); err != nil {
			return cursor, err
		}
		if len(found) < pageSize {
			o.worked()
			return cursor, nil
		}
	}
}

// cursor is the id of the last event that was delivered or passed over.
func (o *out) cursor(ctx context.Context) (int64, error) {
	text, err := o.journal.Meta(ctx, o.key())
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

// begin passes over what is no news to anybody any more. The cursor is saved also where it is 0: from now on all is
// delivered, however long the receiver is down.
func (o *out) begin(ctx context.Context) (cursor int64, err error) {
	for news := o.all != nil; !news; {
		found, err := o.journal.Events(ctx, cursor, pageSize)
		if err != nil {
			return 0, err
		}
		news = len(found) < pageSize
		for _, e := range found {
			if o.now().Sub(e.At) < oldNews {
				news = true
				break
			}
			cursor = e.ID
		}
	}
	return cursor, o.journal.SetMeta(ctx, o.key(), strconv.FormatInt(cursor, 10))
}

// save moves the cursor, also when the turn ended meanwhile: what was delivered shall not be delivered again.
func (o *out) save(ctx context.Context, from, to int64) error {
	if from == to {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), turnPace-turnLength)
	defer cancel()
	return o.journal.SetMeta(ctx, o.key(), strconv.FormatInt(to, 10))
}

// worked notes that nothing failed.
func (o *out) worked() {
	if o.failures == 0 {
		return
	}
	if o.failures >= failuresTold {
		o.log.Info("notifications are delivered again", "sink", o.name, "failures", o.failures)
	}
	o.failures = 0
	o.pause.Reset()
	o.observe(o.name, 0)
}

// failed notes a failure and returns the pause before the next try. What only the end of a turn cut off is none.
func (o *out) failed(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	o.failures++
	o.observe(o.name, o.failures)
	if o.failures%failuresTold == 0 {
		o.log.Error("notifications are not delivered; they are tried again for ever", "sink", o.name, "failures", o.failures, "err", err)
	}
	return o.pause.NextBackOff()
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
