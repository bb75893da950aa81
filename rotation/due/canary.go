package due

import (
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
)

// CanaryEnd returns when the targets other than the canary get the key of a rotation: when that was, else when it is at the latest,
// which is before the key in use expires. live is that key, or nil. The zero time: no canary holds the key alone, or ever did.
func CanaryEnd(p *policies.Policy, rot *journal.Rotation, live *journal.Key) time.Time {
	if rot.CanaryFrom.IsZero() || !rot.CanaryOver.IsZero() {
		return rot.CanaryOver
	}
	end := rot.CanaryFrom.Add(p.Canary.For.Std())
	if live != nil && !live.Expiry().IsZero() {
		if latest := live.Expiry().Add(-p.Retire.Overlap.Std()); latest.Before(end) {
			end = latest
		}
	}
	return end
}
