package rotation

import (
	"context"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/xai"
)

// What the watch may find of a key.
const (
	healthOK       = "ok"
	healthSuspect  = "suspect"     // answered badly, not often enough to prove anything
	healthDead     = "dead"        // proved bad
	healthBlocked  = "blocked"     // xAI blocked the key or its team
	healthLeaked   = "compromised" // a human reported it; this stays until the key is gone
	healthExpiring = "expiring"    // will expire before a rotation could replace it in time
)

// suspectPace is the pause between two looks at a key that answered badly.
const suspectPace = 30 * time.Second

// watch reads every target and asks the key in use who it is. What it finds is an event and stands in the map; it never
// writes a target. Its failures are shown and tried again; they do not hold the rotation up.
func (t *turn) watch(ctx context.Context) error {
	p := &t.rec.Policy
	if t.ahead(p.WatchAt) && !t.targetsChanged() {
		for _, row := range t.rec.Targets {
			if row.Decision != journal.Drop {
				t.stands(row.Error)
			}
		}
		return nil
	}
	p.WatchAt = t.now().Add(t.limits.Watch)
	t.markRemoved()
	if p.RemovedAt.IsZero() {
		if err := t.contact(ctx, t.policy); err != nil {
			if gone(ctx, err) {
				return err
			}
			t.troubled(err)
		}
	}
	examined := false
	for _, row := range append([]journal.Target(nil), t.rec.Targets...) {
		if row.ContactAt.IsZero() || row.Decision == journal.Drop {
			continue
		}
		v, err := t.inspect(ctx, row.TargetID)
		if now := t.row(row.TargetID); err == nil && !examined && now.RemovedAt.IsZero() && now.KeyID != "" && now.KeyID == p.KeyID {
			examined = true // the others that hold it hold the same bytes
			err = t.examine(ctx, v, p.KeyID)
		}
		if gone(ctx, err) {
			return err
		}
		if err != nil {
			t.troubled(err)
		}
	}
	t.age()
	return nil
}

// targetsChanged reports whether the policy names a target that was never looked at, or no longer names one of the map's.
func (t *turn) targetsChanged() bool {
	named := make(map[journal.TargetID]bool)
	if t.rec.Policy.RemovedAt.IsZero() {
		for _, pt := range t.policy.Targets {
			named[idOf(pt)] = true
		}
	}
	for _, row := range t.rec.Targets {
		if named[row.TargetID] == row.RemovedAt.IsZero() || row.Status == journal.TargetUnreadable || row.Decision == journal.Drop {
			delete(named, row.TargetID) // known, or tried lately: the watch comes back to it
		} else {
			return true
		}
	}
	return len(named) > 0
}

// troubled shows a failure of the watch, and looks again sooner.
func (t *turn) troubled(err error) {
	p := &t.rec.Policy
	p.WatchAt = minTime(p.WatchAt, t.now().Add(max(time.Minute, retryAfter(err))))
	t.log.Warn("watch", "err", err)
	t.worry(err)
}

// markRemoved notes which targets the policy no longer names. They are watched, and count for the gate, until they read
// otherwise or a human forgets them.
func (t *turn) markRemoved() {
	named := make(map[journal.TargetID]bool)
	if t.rec.Policy.RemovedAt.IsZero() {
		for _, pt := range t.policy.Targets {
			named[idOf(pt)] = true
		}
	}
	for i := range t.rec.Targets {
		row := &t.rec.Targets[i]
		if !named[row.TargetID] && row.RemovedAt.IsZero() {
			row.RemovedAt = t.now()
		}
	}
}

// inspect reads one target and says what changed.
func (t *turn) inspect(ctx context.Context, id journal.TargetID) (secret.Text, error) {
	s, err := t.spot(policies.Target{Store: id.Store, Path: id.Path, Field: id.Field})
	if err != nil {
		return secret.Text{}, err
	}
	before := *t.row(id)
	v, err := t.look(ctx, s)
	if err != nil {
		return v, err
	}
	row := t.row(id)
	switch {
	case t.judge(row), !row.RemovedAt.IsZero(): // what is no longer ours to write may hold anything
		if row.Fingerprint == "" {
			row.Status = journal.TargetEmpty
		} else {
			row.Status = journal.TargetOK
		}
	case row.Status == journal.TargetForeign && row.Fingerprint == before.Fingerprint:
	default:
		row.Status = journal.TargetDrift
		if before.Status != journal.TargetDrift || before.Fingerprint != row.Fingerprint {
			t.tell(journal.Drifted, "target", id.String(), "key_id", row.KeyID)
		}
	}
	return v, nil
}

// judge reports whether what a target holds is in order: the value that a promote may replace, the successor that is
// being promoted, or what a human decided on.
func (t *turn) judge(row *journal.Target) bool {
	if row.ContactAt.IsZero() {
		return true
	}
	if row.Fingerprint == row.Replaceable && row.Status != journal.TargetForeign {
		return true
	}
	if r := t.rec.Rotation; r != nil && !r.PromotingAt.IsZero() && row.Fingerprint != "" {
		if row.Fingerprint == r.Fingerprint {
			return true
		}
		if k := t.key(r.RestoreKeyID); k != nil && row.Fingerprint == k.Fingerprint {
			return true
		}
	}
	return row.Decision != journal.Undecided && row.DecidedFor == row.Fingerprint
}

// examine lets the key in use prove itself, and keeps count of bad answers.
func (t *turn) examine(ctx context.Context, v secret.Text, id string) error {
	k := t.key(id)
	if k == nil || k.Health == healthLeaked || t.rec.Rotation != nil && !t.rec.Rotation.PromotingAt.IsZero() && t.rec.Rotation.LiveAt.IsZero() {
		return nil
	}
	health, err := t.health(ctx, v, k)
	if err != nil {
		return err
	}
	if health == healthSuspect {
		k.BadAnswers++
		if k.Health == healthDead || k.Health == healthSuspect && k.BadAnswers >= t.limits.BadAnswers && t.now().Sub(k.HealthAt) >= t.limits.BadSpan {
			health = healthDead
		} else {
			t.rec.Policy.WatchAt = minTime(t.rec.Policy.WatchAt, t.now().Add(min(suspectPace, t.limits.BadSpan/4)))
		}
	} else {
		k.BadAnswers = 0
	}
	if was := k.Health; was != health {
		k.Health, k.HealthAt = health, t.now()
		switch {
		case health == healthOK && was != "" && was != healthSuspect:
			t.tell(journal.KeyHealthy, "key_id", id)
		case health != healthOK && health != healthSuspect:
			t.tell(journal.KeyUnhealthy, "key_id", id, "health", health)
		}
	}
	// Not only when it is news: the old keys could not be turned on the last time.
	if r := t.rec.Rotation; health == healthDead && r != nil && (r.State == journal.Live || r.State == journal.Retiring) {
		_, err := t.supersedeBad(ctx, "the key that consumers read was proved bad after the promote")
		return err
	}
	return nil
}

func (t *turn) health(ctx context.Context, v secret.Text, k *journal.Key) (string, error) {
	who, err := t.whoIs(ctx, v)
	switch {
	case xai.ProvesBad(err):
		return healthSuspect, nil
	case err != nil:
		return "", err
	case who.KeyID != k.ID:
		return "", stuckf(WrongIdentity, "xAI says that the value in use is key %s, and the journal says %s", who.KeyID, k.ID)
	case who.KeyDisabled:
		return healthSuspect, nil
	case who.KeyBlocked, who.TeamBlocked:
		return healthBlocked, nil
	case k.ExpiresAt.After(k.CreatedAt) && k.ExpiresAt.Sub(t.now()) < t.policy.Retire.Overlap.Std()+time.Hour:
		return healthExpiring, nil
	}
	return healthOK, nil
}

// age tells once a day that a key is older than its policy promises.
func (t *turn) age() {
	p := &t.rec.Policy
	limit := t.policy.MaxAge.Std()
	oldest, _ := t.oldest()
	p.OldestKey = oldest
	if limit == 0 || oldest.IsZero() || t.now().Sub(oldest) <= limit {
		p.AgeAlertAt = noTime
		return
	}
	if p.AgeAlertAt.IsZero() || t.now().Sub(p.AgeAlertAt) >= 24*time.Hour {
		p.AgeAlertAt = t.now()
		t.tell(journal.AgeOverLimit, "age", t.now().Sub(oldest).Round(time.Second).String(), "max_age", limit.String())
	}
}

// retryAfter is what the other side asked for, or 0.
func retryAfter(err error) time.Duration { return xai.RetryAfter(err) }
