package rotation

import (
	"time"

	"rotator/policies"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// rateRun says in the policy's row how it is, as the record is. It reports once when people have to look, and once when that is
// over.
func rateRun(r *run) {
	if from, to := rate(r.rec, r.policy, r.env, r.engine.limits.Watch, r.now()); toldOf(from, to) {
		p := &r.rec.Policy
		r.tell(journal.HealthChanged, "from", string(from), "to", string(to), "reason", string(p.HealthReason), "error", p.Error)
	}
}

// toldOf reports whether people are notified that a policy's health changed.
func toldOf(from, to journal.PolicyHealth) bool {
	return from != to && (health.Alarming(from) || health.Alarming(to))
}

// rate writes the health of a record's policy into its row, and returns what it was and what it is.
func rate(rec *journal.Record, policy *policies.Policy, env Environment, watch time.Duration, now time.Time) (from, to journal.PolicyHealth) {
	p := &rec.Policy
	if rec.Hold.Active(now) || env.Observes() || p.HealthReason == reason.ObserveMode { // or was a moment ago
		p.HeldAt = now
	}
	f := health.FactsOf(policy, rec, env.Freezes(), reason.NeedsHuman, watch, now)
	if env.Observes() {
		f = f.Observed()
	}
	from = p.Health
	p.Health, p.HealthReason, _ = health.Of(f, now)
	p.OverdueAt, p.OverdueReason = f.OverdueAt()
	p.ProvedAt, p.StaleAt = noTime, f.StaleAt()
	if f.Proved {
		p.ProvedAt = f.SeenAt
	}
	return from, p.Health
}
