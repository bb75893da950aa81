package rotation

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"rotator/policies"
	"rotator/rotation/journal"
)

// noTime is the time that has not come.
var noTime time.Time

// idle decides whether a rotation begins.
func (t *turn) idle(ctx context.Context) (next, error) {
	p := &t.rec.Policy
	if !p.RemovedAt.IsZero() {
		p.DueAt, p.DueCause = noTime, ""
		return wait(noTime, ""), nil
	}
	if err := t.retireLeft(ctx); gone(ctx, err) {
		return next{}, err
	} else if err != nil { // it must not hold the next rotation up
		t.worry(err)
	}
	t.schedule()
	if t.held() {
		return wait(t.rec.Hold.Until, Held), nil
	}
	at := p.DueAt
	if missed := t.now().Sub(at); missed > time.Minute && p.NotBefore.IsZero() && p.DueCause == string(policies.CauseSchedule) {
		p.NotBefore = t.now().Add(t.policy.Offset()) // many runs missed together are not made up together
	}
	if p.NotBefore.After(at) {
		at = p.NotBefore
	}
	if t.now().Before(at) {
		if err := t.objections(ctx); err != nil {
			t.worry(err)
		}
		return wait(at, ""), nil
	}
	if t.ordered {
		return wait(at, ""), nil
	}
	if err := t.mayCreate(ctx); err != nil {
		return next{}, err
	}
	trigger := journal.Trigger(p.DueCause)
	switch {
	case t.leaked(p.KeyID):
		trigger = journal.ByCompromise
	case t.unhealthy():
		trigger = journal.ByBadKey
	}
	t.begin(trigger, "")
	return again, nil
}

// objections says what a human has to look at in the policy's targets, also while nothing is due. In a restored journal every
// rotation since looks like somebody else's: then that is what is said.
func (t *turn) objections(ctx context.Context) error {
	for _, pt := range t.policy.Targets {
		row := t.row(idOf(pt))
		if !excluded(*row) && (row.Status == journal.TargetDrift || row.Status == journal.TargetForeign) {
			if err := t.reconciled(ctx); isReason(err, RestoredJournal) {
				return err
			}
			return t.objection(t.row(idOf(pt)))
		}
	}
	return t.unmet(t.policy)
}

// schedule computes when the next rotation is due, and why then.
func (t *turn) schedule() {
	p := &t.rec.Policy
	p.OldestKey, p.KeyExpires = t.oldest()
	at, cause := t.policy.NextDue(policies.History{
		FirstSeen:    p.FirstSeen,
		LastSuccess:  p.LastSuccess,
		OldestKey:    p.OldestKey,
		KeyExpires:   p.KeyExpires,
		TargetsEmpty: t.targetsMiss(),
	}, t.now())
	p.DueAt, p.DueCause = at, string(cause)
	if t.unhealthy() {
		p.DueAt = t.now()
	}
}

// targetsMiss reports whether a target waits for its first key, or for the one that the others hold.
func (t *turn) targetsMiss() bool {
	p := t.rec.Policy
	for _, pt := range t.policy.Targets {
		row := *t.row(idOf(pt))
		if excluded(row) || row.ContactAt.IsZero() {
			continue
		}
		if row.Status == journal.TargetEmpty {
			return true
		}
		if row.Status == journal.TargetOK && p.KeyID != "" && row.KeyID != p.KeyID {
			return true
		}
	}
	return false
}

// oldest returns when the oldest key that xAI still accepts was created, and when the key in use expires.
func (t *turn) oldest() (created, expires time.Time) {
	for _, k := range t.rec.Keys {
		if !k.DeletedAt.IsZero() || !k.DisabledAt.IsZero() || k.Use == journal.UseRejected || k.Use == journal.UseSuccessor {
			continue
		}
		if created.IsZero() || k.CreatedAt.Before(created) {
			created = k.CreatedAt
		}
		if k.ID == t.rec.Policy.KeyID && k.ExpiresAt.After(k.CreatedAt) { // else it is not believed: the key would never be new enough
			expires = k.ExpiresAt
		}
	}
	return created, expires
}

// mayCreate refuses to begin while earlier creates are unsettled, or the journal is only being compared.
func (t *turn) mayCreate(ctx context.Context) error {
	n := 0
	for _, a := range t.rec.Attempts {
		k := t.key(a.KeyID)
		if a.State == journal.InDoubt || a.State == journal.Lost && k != nil && k.DeletedAt.IsZero() {
			n++
		}
	}
	if n >= t.limits.Unresolved {
		return stuckf(TooManyAttempts, "%d creates of %s are not settled yet", n, t.claim.Policy)
	}
	return t.reconciled(ctx)
}

// reconciled refuses every create and every destruction in a journal that came from a backup, until each target of the
// policy holds a key that the journal knows or a human resolved it: the backup may be older than the last rotation.
func (t *turn) reconciled(ctx context.Context) error {
	mark, err := t.journal.Meta(ctx, journal.MetaRestored)
	if err != nil || mark == "" {
		return err
	}
	if done, err := t.journal.Meta(ctx, journal.MetaRestored+"/"+t.claim.Policy); err != nil || done == mark {
		return err
	}
	for _, pt := range t.policy.Targets {
		s, err := t.spot(pt)
		if err != nil {
			return err
		}
		if _, err := t.look(ctx, s); err != nil { // what the backup says of it may be long past
			return err
		}
		row := *t.row(s.id)
		known := row.Fingerprint == "" || row.KeyID != "" && t.key(row.KeyID) != nil
		decided := row.Decision != journal.Undecided && row.DecidedFor == row.Fingerprint
		if !known && !decided {
			return stuckf(RestoredJournal, "the journal was restored, and %s does not hold a key that it knows; `rotator keys adopt %s` takes that over",
				row.TargetID, t.claim.Policy)
		}
	}
	return t.journal.SetMeta(ctx, journal.MetaRestored+"/"+t.claim.Policy, mark)
}

// begin plans a rotation. The plan is written down with the intent to create, or when the turn ends: before anything
// changes outside.
func (t *turn) begin(trigger journal.Trigger, why string) {
	id := uuid.Must(uuid.NewV7()).String() // fails only when the system has no randomness, and then nothing is safe
	now := t.now()
	r := &journal.Rotation{
		ID: id, Policy: t.claim.Policy, State: journal.Planned, Trigger: trigger, Why: why,
		Spec: t.rec.Policy.Spec, StartedAt: now, EnteredAt: now,
	}
	old := slices.Clone(t.rec.Keys)
	slices.SortStableFunc(old, func(a, b journal.Key) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, use := range []journal.Use{journal.UsePredecessor, journal.UseCurrent} { // the last one is what a rollback goes back to
		for _, k := range old {
			if k.DeletedAt.IsZero() && k.Use == use {
				r.OldKeyIDs = r.OldKeyIDs.With(k.ID)
			}
		}
	}
	p := &t.rec.Policy
	p.RotationID, p.StepAt, p.NotBefore = id, noTime, noTime
	t.rec.Rotation = r
	t.plan = t.policy
	t.tell(journal.Started, "trigger", string(trigger), "why", why)
	t.log.Info("rotation planned", "rotation", id, "trigger", trigger)
}

// unhealthy reports whether the key in use was proved bad, or is known to somebody else. A rotation is due until another
// key is in use, whatever becomes of the rotations that begin.
func (t *turn) unhealthy() bool {
	k := t.key(t.rec.Policy.KeyID)
	return k != nil && (k.Health == healthDead || k.Health == healthLeaked)
}

// leaked reports whether a human reported the key as compromised.
func (t *turn) leaked(id string) bool {
	k := t.key(id)
	return k != nil && k.Health == healthLeaked
}
