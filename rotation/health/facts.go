package health

import (
	"cmp"
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/journal"
)

// unretiredAfter is how long the use of an old key, or silence about it, may hold up its retirement without a max_wait.
const unretiredAfter = 7 * 24 * time.Hour

// FactsOf gathers the facts from a policy's record, as it is at now, under the freezes of the configuration. human says
// which reasons wait for people; watch is the time between two looks.
func FactsOf(p *policies.Policy, rec *journal.Record, freezes []policies.Freeze, human func(journal.Reason) bool, watch time.Duration, now time.Time) Facts {
	row := &rec.Policy
	f := Facts{
		Reconciling: !row.ReconcileFrom.IsZero(), Removed: !row.RemovedAt.IsZero(), Reason: row.Reason, Failures: row.Failures,
		SpecError: row.SpecError != "", Held: rec.Hold.Active(now), HeldUntil: rec.Hold.Until, Watch: watch,
	}
	if row.Leaving() {
		f.Removed = true // nothing of it is to be in use
	}
	if !f.Held {
		f.HeldUntil = time.Time{}
	}
	f.DueAt = dueAt(p, rec, freezes, now)
	f.jobs(rec, human)
	f.keys(p, rec, freezes, now)
	f.targets(p, rec)
	f.expiry(p, rec)
	if row.Leaving() {
		f.Moving = f.Moving || f.Keys
		f.KeyDead, f.Keys = false, false // its keys go, without another word of people
	}
	return f
}

// dueAt is when a rotation is to begin or, once it is wanted or in flight, when it was: a hold puts that off, but for what a
// hold does not stop.
func dueAt(policy *policies.Policy, rec *journal.Record, freezes []policies.Freeze, now time.Time) time.Time {
	p := &rec.Policy
	if !p.RemovedAt.IsZero() || p.Leaving() {
		return time.Time{}
	}
	at, trigger := p.DueAt, journal.Trigger(p.DueCause)
	if !at.IsZero() {
		at = later(at, p.SpecAt) // an edit that makes a rotation due in the past does not make it late
	}
	if !p.WantedAt.IsZero() && (at.IsZero() || p.WantedAt.Before(at)) {
		at, trigger = p.WantedAt, p.WantedTrigger
	}
	if rot := rec.Rotation; rot != nil && (at.IsZero() || rot.StartedAt.Before(at)) {
		at, trigger = rot.StartedAt, rot.Trigger
	}
	if at.IsZero() || unstoppable(rec, trigger) {
		return at
	}
	if rot := rec.Rotation; rot != nil && !rot.CanaryFrom.IsZero() { // the others were to wait
		at = later(at, due.CanaryEnd(policy, rot, rec.Live()))
	}
	switch h := rec.Hold; {
	case !h.Active(now):
		at = later(at, p.HeldAt)
	case rec.Rotation != nil && rec.Rotation.State == journal.Promoting && !onCanary(rec.Rotation): // which goes on under a hold
		at = later(at, rec.Rotation.PromotingAt)
	case h.Until.IsZero():
		return time.Time{}
	default:
		at = later(at, h.Until)
	}
	if rec.Rotation != nil {
		return at
	}
	return due.Thawed(freezes, policy, due.Cause(trigger), at)
}

// onCanary reports whether one target alone holds the key of a rotation. A hold then keeps the others waiting.
func onCanary(rot *journal.Rotation) bool { return !rot.CanaryFrom.IsZero() && rot.CanaryOver.IsZero() }

// unstoppable reports whether no hold stops a rotation: it gives consumers a key that works, or takes one away that is known
// to others. A key that expires is replaced under a hold of rotations alone.
func unstoppable(rec *journal.Record, t journal.Trigger) bool {
	switch t {
	case journal.ByHealing, journal.ByRollback, journal.ByCompromise:
		return true
	case journal.ByBadKey:
		live := rec.Live()
		return live == nil || dead(live)
	case journal.ByExpiry:
		return rec.Hold.Scope == journal.HoldRotations
	}
	return false
}

// jobs gathers what the jobs say: the most failures in a row, and a reason that waits for people.
func (f *Facts) jobs(rec *journal.Record, human func(journal.Reason) bool) {
	note := func(r journal.Reason, failures int) {
		if f.Human == "" && human(r) {
			f.Human = r
		}
		if failures > f.Failures {
			f.Failures, f.Reason = failures, cmp.Or(r, f.Reason)
		}
	}
	note(f.Reason, f.Failures)
	if rot := rec.Rotation; rot != nil {
		note(rot.Reason, rot.Failures)
	}
	for _, k := range rec.Keys {
		if k.State != journal.LiveKey { // which nothing settles or retires
			note(k.Reason, k.Tries)
		}
		note(k.UpdateReason, k.UpdateTries)
	}
}

// keys gathers what the keys say: their age, their retirement, and whether people know them.
func (f *Facts) keys(p *policies.Policy, rec *journal.Record, freezes []policies.Freeze, now time.Time) {
	inFlight := ""
	if rot := rec.Rotation; rot != nil {
		inFlight = rot.KeyRef
	}
	f.Moving = rec.Rotation != nil || !rec.Policy.WantedAt.IsZero() && !f.Removed
	for i := range rec.Keys {
		k := &rec.Keys[i]
		if k.State.Gone() {
			continue
		}
		off := k.State == journal.DisabledKey || k.State == journal.DeletingKey && !k.DisabledAt.IsZero()
		if k.Compromised() && !off {
			f.CompromisedAt = earlier(f.CompromisedAt, k.CompromisedAt)
		}
		if k.State.Works() && p.MaxAge > 0 {
			f.AgeLimit = earlier(f.AgeLimit, k.CreatedAt.Add(p.MaxAge.Std()))
		}
		switch k.State {
		case journal.CreatingKey, journal.RejectedKey, journal.DeletingKey:
		default:
			f.Keys = true
		}
		if k.Ref == inFlight {
			continue
		}
		switch k.State {
		case journal.RetiringKey, journal.DisabledKey, journal.RejectedKey, journal.DeletingKey:
			f.Moving = true
			f.RetireAt = earlier(f.RetireAt, retireAt(p, rec, k, freezes, now))
		}
	}
}

// expiry gathers from when people are notified that a key in use expires soon. Where nothing keeps its replacement, that is some minutes
// after it was due; else days before.
func (f *Facts) expiry(p *policies.Policy, rec *journal.Record) {
	for i := range rec.Keys {
		k := &rec.Keys[i]
		if (k.State == journal.LiveKey || k.State == journal.PromotingKey) && !rec.Policy.Leaving() {
			f.Key = cmp.Or(f.Key, keyReason(k))
		}
		if k.State != journal.LiveKey || k.Expiry().IsZero() || rec.Policy.Leaving() {
			continue
		}
		due := k.Expiry().Add(-p.ExpiryLead() - p.Offset())
		f.Alone = due.Add(-min(expiryWarning, k.Expiry().Sub(k.CreatedAt)/8))
		f.ExpiryAt = due.Add(ExpiryTold)
		if f.Held || f.Removed {
			f.ExpiryAt = f.Alone
		}
	}
}

// keyReason says why a key is not what its policy wants; "" where it is, or will be.
func keyReason(k *journal.Key) journal.Reason {
	switch {
	case k.UpdateReason == updateRefused:
		return updateRefused
	case k.Drift != "":
		return keyDrift
	}
	return ""
}

// retireAt is when a key should be off, or gone; zero: a hold puts it off, or nothing waits for it.
func retireAt(p *policies.Policy, rec *journal.Record, k *journal.Key, freezes []policies.Freeze, now time.Time) time.Time {
	overlap, soak := p.Retire.Overlap.Std(), p.Retire.Soak.Std()
	if k.Compromised() { // at once where it cannot be disabled; one that is off waits out its soak
		overlap = 0
		if k.NeverDisabled {
			soak = 0
		}
	}
	at := time.Time{}
	switch {
	case !k.DisabledAt.IsZero():
		at = k.DisabledAt.Add(soak)
	case k.RetireFrom.IsZero(): // never exposed, or shut off by hand
		return at
	case (k.State == journal.RetiringKey || k.State == journal.DeletingKey) && !k.IdleFrom.IsZero():
		wait := unretiredAfter
		if p.Retire.MaxWait > 0 {
			wait = p.Retire.MaxWait.Std()
		}
		at = k.IdleFrom.Add(wait)
	default:
		at = k.RetireFrom.Add(overlap)
	}
	if k.NeverDisabled && k.DisabledAt.IsZero() {
		at = later(at, k.RetireFrom.Add(overlap+soak))
	}
	if k.Compromised() {
		at = later(at, k.CompromisedAt) // it was in time until then
	} else {
		at = due.Thawed(freezes, p, due.Schedule, at)
	}
	switch h := rec.Hold; {
	case h.Stops(now) && h.Until.IsZero():
		return time.Time{}
	case h.Stops(now):
		return later(at, h.Until)
	case !h.Active(now):
		return later(at, rec.Policy.HeldAt)
	}
	return at
}

// targets gathers what the targets say: when they were read, and what consumers find there.
func (f *Facts) targets(p *policies.Policy, rec *journal.Record) {
	live := rec.Live()
	f.Live = live != nil
	f.Proved = f.Live && !live.ProvedAt.IsZero() && !f.Removed
	if live != nil {
		f.KeyDead = dead(live)
		f.SeenAt = live.ProvedAt
		if f.SeenAt.IsZero() {
			f.SeenAt = live.LiveAt
		}
	}
	if f.Removed {
		return
	}
	held := 0 // targets that hold the live key
	for _, pt := range p.Targets {
		id := journal.TargetID{Store: pt.Store, Path: pt.Path, Field: pt.Field}
		i := slices.IndexFunc(rec.Targets, func(t journal.Target) bool { return t.TargetID == id })
		row := journal.Target{TargetID: id}
		if i >= 0 {
			row = rec.Targets[i]
		}
		if row.Decision == journal.Drop {
			continue
		}
		if row.SeenAt.IsZero() {
			f.Proved = false
			f.SeenAt = earlier(f.SeenAt, rec.Policy.FirstSeen)
			continue
		}
		f.SeenAt = earlier(f.SeenAt, row.SeenAt)
		if row.Excluded() {
			continue
		}
		if k := rec.KeyByID(row.KeyID); k != nil && dead(k) {
			f.KeyDead = true
		}
		held++
		if row.Status != journal.TargetOK || live == nil || row.KeyID != live.ID {
			f.Proved = false
		}
	}
	f.Proved = f.Proved && held > 0
}

// dead reports whether xAI is known to refuse a key.
func dead(k *journal.Key) bool {
	return k.Health == journal.HealthDead || k.Health == journal.HealthBlocked
}

// earlier is the earlier of two times; the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
