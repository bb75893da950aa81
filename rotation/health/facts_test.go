package health_test

import (
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation/health"
	"rotator/rotation/journal"
)

const hour = time.Hour

// sound is the record of a policy that is well: its live key proved itself and was read in both targets five minutes ago.
func sound() (*policies.Policy, *journal.Record) {
	p := &policies.Policy{Name: "chat", MaxAge: policies.Duration(720 * hour),
		Targets: []policies.Target{{Store: "a", Path: "x"}, {Store: "b", Path: "y"}},
		Retire:  policies.Retire{Overlap: policies.Duration(24 * hour), Soak: policies.Duration(24 * hour)}}
	rec := &journal.Record{
		Policy: journal.Policy{Name: "chat", FirstSeen: start.Add(-9000 * hour), DueAt: start.Add(300 * hour), DueCause: "schedule"},
		Keys: []journal.Key{{Ref: "2", ID: "k2", State: journal.LiveKey, CreatedAt: start.Add(-100 * hour), LiveAt: start.Add(-100 * hour),
			ExposedAt: start.Add(-100 * hour), ProvedAt: minute(-5), Health: journal.HealthOK}},
	}
	for _, pt := range p.Targets {
		rec.Targets = append(rec.Targets, journal.Target{TargetID: journal.TargetID{Store: pt.Store, Path: pt.Path}, Status: journal.TargetOK,
			KeyID: "k2", Fingerprint: "f2", ContactAt: minute(-500), SeenAt: minute(-5)})
	}
	return p, rec
}

// old is a key that was replaced that long ago.
func old(state journal.KeyState, ago time.Duration) journal.Key {
	k := journal.Key{Ref: "1", ID: "k1", State: state, CreatedAt: start.Add(-200 * hour), ExposedAt: start.Add(-200 * hour), RetireFrom: start.Add(-ago)}
	if state == journal.DisabledKey {
		k.DisabledAt = k.RetireFrom
	}
	return k
}

// TestTroubles: thirty and more kinds of trouble, each named rightly; only what is well is ok.
func TestTroubles(t *testing.T) {
	t.Parallel()
	type record = *journal.Record
	live := func(r record) *journal.Key { return &r.Keys[0] }
	for _, c := range []struct {
		what string
		do   func(p *policies.Policy, r record)
		want health.Health
		why  journal.Reason
	}{
		{"all is well", func(*policies.Policy, record) {}, health.OK, ""},
		{"well, and a target was left to people", func(_ *policies.Policy, r record) {
			r.Targets[1].KeyID, r.Targets[1].Decision, r.Targets[1].DecidedFor = "k9", journal.Leave, "f2"
		}, health.OK, ""},
		{"well, and a target that was dropped cannot be read", func(_ *policies.Policy, r record) {
			r.Targets[1] = journal.Target{TargetID: r.Targets[1].TargetID, Decision: journal.Drop, Status: journal.TargetUnreadable}
		}, health.OK, ""},
		{"removed, and nothing is left", func(_ *policies.Policy, r record) { r.Policy.RemovedAt, r.Keys = minute(-50), nil }, health.OK, ""},

		{"an old key in its overlap", func(_ *policies.Policy, r record) { r.Keys = append(r.Keys, old(journal.RetiringKey, hour)) }, health.Progressing, ""},
		{"an old key in its soak", func(_ *policies.Policy, r record) { r.Keys = append(r.Keys, old(journal.DisabledKey, hour)) }, health.Progressing, ""},
		{"an old key waits to be idle", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, 100*hour)
			k.IdleFrom = start.Add(-76 * hour)
			r.Keys = append(r.Keys, k)
		}, health.Progressing, ""},
		{"a rotation in flight", func(_ *policies.Policy, r record) {
			r.Rotation = &journal.Rotation{State: journal.Staged, StartedAt: minute(-10)}
		}, health.Progressing, ""},
		{"a rotation is due", func(_ *policies.Policy, r record) { r.Policy.DueAt = minute(-1) }, health.Progressing, ""},
		{"a rotation is wanted", func(_ *policies.Policy, r record) { r.Policy.WantedAt = minute(-1) }, health.Progressing, ""},

		{"nobody ever read it", func(_ *policies.Policy, r record) {
			r.Keys, r.Targets, r.Policy.FirstSeen = nil, nil, minute(-1)
		}, health.Degraded, health.NeverRotated},
		{"its store could never be read", func(_ *policies.Policy, r record) { r.Keys, r.Targets = nil, nil }, health.Degraded, health.NotWatched},
		{"never rotated", func(_ *policies.Policy, r record) { r.Keys = nil }, health.Degraded, health.NeverRotated},
		{"a new target was never read", func(_ *policies.Policy, r record) { r.Targets = r.Targets[:1] }, health.Degraded, health.NotWatched},
		{"a target was not read for two watches", func(_ *policies.Policy, r record) { r.Targets[1].SeenAt = minute(-30) }, health.Degraded, health.NotWatched},
		{"the live key did not prove itself for two watches", func(_ *policies.Policy, r record) { live(r).ProvedAt = minute(-31) }, health.Degraded, health.NotWatched},
		{"an adopted key never proved itself", func(_ *policies.Policy, r record) { live(r).ProvedAt = time.Time{} }, health.Degraded, health.NotWatched},
		{"every target was dropped", func(_ *policies.Policy, r record) {
			r.Targets[0].Decision, r.Targets[1].Decision = journal.Drop, journal.Drop
		}, health.Degraded, health.Unproved},
		{"a target holds another value", func(_ *policies.Policy, r record) { r.Targets[0].Status, r.Targets[0].KeyID = journal.TargetDrift, "" }, health.Degraded, health.Unproved},
		{"billing fails a third time", func(_ *policies.Policy, r record) { r.Policy.Failures, r.Policy.Reason = 3, "billing" }, health.Degraded, "billing"},
		{"a rotation fails a third time", func(_ *policies.Policy, r record) {
			r.Rotation = &journal.Rotation{State: journal.Planned, StartedAt: minute(-10), Failures: 3, Reason: "xai_unavailable"}
		}, health.Degraded, "xai_unavailable"},
		{"a retirement fails a third time", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, 24*hour)
			k.Tries, k.Reason, k.Error = 3, "rate_limited", "slow down"
			r.Keys = append(r.Keys, k)
		}, health.Degraded, "rate_limited"},
		{"held", func(_ *policies.Policy, r record) { r.Hold.At = minute(-50) }, health.Degraded, "held"},
		{"due, and held", func(_ *policies.Policy, r record) { r.Hold.At, r.Policy.DueAt = minute(-500), minute(-300) }, health.Degraded, "held"},
		{"an old key is late, and held", func(_ *policies.Policy, r record) {
			r.Hold.At, r.Keys = minute(-5000), append(r.Keys, old(journal.RetiringKey, 30*hour))
		}, health.Degraded, "held"},

		{"drift", func(_ *policies.Policy, r record) { r.Policy.Reason = "drift" }, health.ActionRequired, "drift"},
		{"the rotation waits for people", func(_ *policies.Policy, r record) {
			r.Rotation = &journal.Rotation{State: journal.Planned, StartedAt: minute(-10), Reason: "drift"}
		}, health.ActionRequired, "drift"},
		{"an old key waits for people", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, 24*hour)
			k.Reason = "drift"
			r.Keys = append(r.Keys, k)
		}, health.ActionRequired, "drift"},
		{"the live key is dead", func(_ *policies.Policy, r record) { live(r).Health = journal.HealthDead }, health.ActionRequired, health.KeyDead},
		{"xAI blocked the team", func(_ *policies.Policy, r record) { live(r).Health = journal.HealthBlocked }, health.ActionRequired, health.KeyDead},
		{"a target holds an old key that is dead", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, hour)
			k.Health = journal.HealthDead
			r.Keys = append(r.Keys, k)
			r.Targets[0].KeyID = "k1"
		}, health.ActionRequired, health.KeyDead},
		{"the journal was restored", func(_ *policies.Policy, r record) { r.Policy.ReconcileFrom = minute(-5) }, health.ActionRequired, "restored_journal"},
		{"removed, and its key is left", func(_ *policies.Policy, r record) { r.Policy.RemovedAt = minute(-50) }, health.ActionRequired, health.Removed},

		{"over age", func(p *policies.Policy, r record) { live(r).CreatedAt = start.Add(-720 * hour) }, health.Overdue, health.OverAge},
		{"over age, although held", func(p *policies.Policy, r record) {
			r.Hold.At, live(r).CreatedAt = minute(-50), start.Add(-721*hour)
		}, health.Overdue, health.OverAge},
		{"an old key is over age", func(p *policies.Policy, r record) {
			k := old(journal.RetiringKey, hour)
			k.CreatedAt = start.Add(-721 * hour)
			r.Keys = append(r.Keys, k)
		}, health.Overdue, health.OverAge},
		{"due an hour ago", func(_ *policies.Policy, r record) { r.Policy.DueAt = minute(-60) }, health.Overdue, health.RotationLate},
		{"due an hour ago, and drift", func(_ *policies.Policy, r record) { r.Policy.DueAt, r.Policy.Reason = minute(-60), "drift" }, health.Overdue, health.RotationLate},
		{"wanted an hour ago", func(_ *policies.Policy, r record) { r.Policy.WantedAt = minute(-60) }, health.Overdue, health.RotationLate},
		{"in flight for an hour", func(_ *policies.Policy, r record) {
			r.Rotation = &journal.Rotation{State: journal.Promoting, StartedAt: minute(-60)}
		}, health.Overdue, health.RotationLate},
		{"expires, and rotations are held", func(_ *policies.Policy, r record) {
			r.Hold = journal.Hold{At: minute(-500), Scope: journal.HoldRotations}
			r.Policy.DueAt, r.Policy.DueCause = minute(-60), "expiry"
		}, health.Overdue, health.RotationLate},
		{"released, and its rotation promotes", func(_ *policies.Policy, r record) {
			r.Policy.DueAt, r.Policy.HeldAt = minute(-600), minute(-1)
			r.Rotation = &journal.Rotation{State: journal.Promoting, StartedAt: minute(-1), PromotingAt: minute(-1)}
		}, health.Progressing, ""},
		{"held, and its rotation promotes for an hour anyway", func(_ *policies.Policy, r record) {
			r.Hold.At, r.Policy.HeldAt = minute(-60), start
			r.Rotation = &journal.Rotation{State: journal.Promoting, StartedAt: minute(-61), PromotingAt: minute(-60)}
		}, health.Overdue, health.RotationLate},
		{"due an hour ago, and just released", func(_ *policies.Policy, r record) {
			r.Policy.DueAt, r.Policy.HeldAt = minute(-600), minute(-1)
		}, health.Progressing, ""},
		{"an old key should have been off an hour ago", func(_ *policies.Policy, r record) {
			r.Keys = append(r.Keys, old(journal.RetiringKey, 25*hour))
		}, health.Overdue, health.RetirementLate},
		{"an old key should have been off an hour ago, and rotations are held", func(_ *policies.Policy, r record) {
			r.Hold = journal.Hold{At: minute(-500), Scope: journal.HoldRotations}
			r.Policy.HeldAt, r.Keys = start, append(r.Keys, old(journal.RetiringKey, 25*hour))
		}, health.Overdue, health.RetirementLate},
		{"an old key should have been deleted an hour ago", func(_ *policies.Policy, r record) {
			r.Keys = append(r.Keys, old(journal.DisabledKey, 25*hour))
		}, health.Overdue, health.RetirementLate},
		{"an old key that cannot be turned off has its soak too", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, 30*hour)
			k.NeverDisabled = true
			r.Keys = append(r.Keys, k)
		}, health.Progressing, ""},
		{"an old key is in use for more than a week", func(_ *policies.Policy, r record) {
			k := old(journal.RetiringKey, 200*hour)
			k.IdleFrom = start.Add(-169 * hour)
			r.Keys = append(r.Keys, k)
		}, health.Overdue, health.RetirementLate},
		{"a compromised key works a quarter of an hour later", func(_ *policies.Policy, r record) { live(r).CompromisedAt = minute(-15) }, health.Overdue, health.CompromisedAccepted},
		{"a compromised key is off", func(_ *policies.Policy, r record) {
			k := old(journal.DisabledKey, hour/4)
			k.CompromisedAt = minute(-20)
			r.Keys = append(r.Keys, k)
		}, health.Progressing, ""},
		{"a compromised key is off, and in its soak", func(_ *policies.Policy, r record) {
			k := old(journal.DisabledKey, 24*hour)
			k.CompromisedAt = minute(-70)
			r.Keys = append(r.Keys, k)
		}, health.Progressing, ""},
		{"a compromised key is off, and its soak ended an hour ago", func(_ *policies.Policy, r record) {
			k := old(journal.DisabledKey, 25*hour)
			k.CompromisedAt = minute(-70)
			r.Keys = append(r.Keys, k)
		}, health.Overdue, health.RetirementLate},
	} {
		p, rec := sound()
		c.do(p, rec)
		f := health.FactsOf(p, rec, nil, func(r journal.Reason) bool { return r == "drift" }, 15*time.Minute, start)
		if got, why, _ := health.Of(f, start); got != c.want || why != c.why {
			t.Errorf("%s: %s (%s), want %s (%s)", c.what, got, why, c.want, c.why)
		}
	}
}

// TestFrozenIsNotLate: what a freeze keeps back is late an hour after the freeze ended, and not before.
func TestFrozenIsNotLate(t *testing.T) {
	t.Parallel()
	first, err := policies.ParseMoment("2026-12-18")
	if err != nil {
		t.Fatal(err)
	}
	last, err := policies.ParseMoment("2027-01-04")
	if err != nil {
		t.Fatal(err)
	}
	freezes := []policies.Freeze{{From: first, To: last}}
	p := &policies.Policy{Name: "chat", Schedule: "0 3 * * *", Retire: policies.Retire{Overlap: policies.Duration(24 * time.Hour)}}
	now := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	end := time.Date(2027, 1, 5, 0, 0, 0, 0, time.UTC)
	old := journal.Key{Ref: "old", ID: "old", State: journal.RetiringKey, RetireFrom: now.Add(-30 * time.Hour)}
	rec := &journal.Record{Policy: journal.Policy{Name: "chat", WantedAt: now.Add(-time.Hour), WantedTrigger: journal.ByHand}, Keys: []journal.Key{old}}
	never := func(journal.Reason) bool { return false }
	if f := health.FactsOf(p, rec, freezes, never, time.Hour, now); !f.DueAt.Equal(end) || !f.RetireAt.Equal(end) {
		t.Errorf("due at %s, to be retired at %s, want both at %s", f.DueAt, f.RetireAt, end)
	}
	rec.Policy.WantedTrigger, rec.Keys[0].CompromisedAt = journal.ByCompromise, now
	if f := health.FactsOf(p, rec, freezes, never, time.Hour, now); f.DueAt.After(now) || f.RetireAt.After(now) {
		t.Errorf("a compromised key is due at %s, to be retired at %s", f.DueAt, f.RetireAt)
	}
}

// TestSpecRefused: a policy that acts as an older file said is degraded.
func TestSpecRefused(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	rec := &journal.Record{Policy: journal.Policy{Name: "chat", FirstSeen: now, SpecError: "chat.yaml:3: unknown key"}}
	f := health.FactsOf(&policies.Policy{Name: "chat"}, rec, nil, func(journal.Reason) bool { return false }, time.Hour, now)
	if got, why, _ := health.Of(f, now); !f.SpecError || got != health.Degraded || why != health.SpecRefused {
		t.Errorf("health %s because of %s", got, why)
	}
}
