package rotation

import (
	"time"

	"rotator/rotation/due"
)

// missedBy is how late a scheduled run must be to count as missed while nobody looked.
const missedBy = time.Minute

// computeDue computes when the next rotation is due, and why then.
func computeDue(r *run) {
	r.rec.Summarize()
	at, cause := due.Of(r.policy, r.rec, r.now())
	r.rec.Policy.DueAt, r.rec.Policy.DueCause = at, string(cause)
}
