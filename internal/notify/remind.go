package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"rotator/rotation/health"
	"rotator/rotation/journal"
)

const (
	remindMost = 100              // policies that are named at a time; the others are counted
	remindLast = 10 * time.Minute // how long reminders that could not be sent are true enough to be sent
)

// Unwell is a policy that needs someone, and what is known of it.
type Unwell struct {
	Policy string
	Facts
}

// remind tells again of policies that still need someone, where the channel repeats. It goes on where a failure or the end of a
// turn stopped it: a receiver gets what it took again only if another replica, or another process, goes on.
func (o *out) remind(ctx context.Context) error {
	if o.Repeat == 0 || o.Unwell == nil {
		return nil
	}
	key := o.key() + "/reminded"
	text, err := o.Journal.Meta(ctx, key)
	if err != nil {
		return err
	}
	last, err := strconv.ParseInt(text, 10, 64)
	if err == nil && o.Now().Sub(time.Unix(last, 0)).Abs() < o.Repeat { // a clock that was set back does not silence it
		o.reminders = nil
		return nil
	}
	if text != "" {
		if err := o.remindNow(ctx); err != nil {
			return err
		}
	}
	// A crash before this line tells of them once more.
	return o.Journal.SetMeta(ctx, key, strconv.FormatInt(o.Now().Unix(), 10))
}

func (o *out) remindNow(ctx context.Context) error {
	if len(o.reminders) == 0 || o.Now().Sub(o.remindersAt).Abs() > remindLast {
		all, err := o.Unwell(ctx)
		if err != nil {
			return err
		}
		o.reminders, o.remindersAt = o.dueReminders(all), o.Now()
	}
	for len(o.reminders) > 0 {
		some := o.reminders[:min(o.Sender.Most(), len(o.reminders))]
		if err := o.Sender.Send(ctx, some); err != nil {
			return fmt.Errorf("remind of policies: %w", err)
		}
		o.reminders, o.sentAt = o.reminders[len(some):], o.Now()
	}
	return nil
}

// dueReminders are the messages about policies that need someone, critical ones first.
func (o *out) dueReminders(unwell []Unwell) (all []Message) {
	for _, u := range unwell {
		f := u.Facts
		m := newMessage(journal.Event{At: o.Now(), Policy: u.Policy, Kind: reminderKind, Data: map[string]string{"to": f.Health, "reason": f.HealthReason}}, f, o.Source)
		if m.Severity = Warning; f.Health == string(health.Overdue) {
			m.Severity = Critical
		}
		if o.Match.takes(m) {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b Message) int {
		return cmp.Or(slices.Index(Severities, b.Severity)-slices.Index(Severities, a.Severity), cmp.Compare(or(a.Policy), or(b.Policy)))
	})
	if more := len(all) - remindMost; more > 0 {
		rest := newMessage(journal.Event{At: o.Now(), Kind: reminderKind, Data: map[string]string{"policies": strconv.Itoa(more)}}, Facts{}, o.Source)
		rest.Severity, rest.Summary = all[remindMost].Severity, fmt.Sprintf("%d more policies still need someone; `rotator health` lists them", more)
		all = append(all[:remindMost:remindMost], rest)
	}
	return all
}
