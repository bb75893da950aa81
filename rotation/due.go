package rotation

import (
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/target"
)

// missedBy is how late a scheduled run must be to count as missed while nobody looked.
const missedBy = time.Minute

// computeDue computes when the next rotation is due, and why then.
func computeDue(r *run) {
	r.rec.Summarize()
	p := &r.rec.Policy
	oldest := p.OldestKey
	if live := r.rec.Live(); live != nil {
		oldest = live.CreatedAt // the older ones were replaced already: another rotation would not end them sooner
	}
	at, cause := r.policy.NextDue(policies.History{
		FirstSeen:    p.FirstSeen,
		LastSuccess:  p.LastSuccess,
		OldestKey:    oldest,
		KeyExpires:   p.KeyExpires,
		TargetsEmpty: targetsMiss(r),
	}, r.now())
	p.DueAt, p.DueCause = at, string(cause)
}

// targetsMiss reports whether a target waits for its first key, or for the one that the others hold.
func targetsMiss(r *run) bool {
	live := r.rec.Live()
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if target.Excluded(row) || row.ContactAt.IsZero() {
			continue
		}
		if row.Status == journal.TargetEmpty {
			return true
		}
		if row.Status == journal.TargetOK && live != nil && row.KeyID != live.ID {
			return true
		}
	}
	return false
}
