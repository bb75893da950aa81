package rotation

import (
	"context"

	"rotator/rotation/journal"
)

// abort turns a rotation back that has promoted nothing.
func (t *turn) abort(why string) {
	r := t.rec.Rotation
	t.tell(journal.AbortBegun, "error", why)
	t.enter(journal.Aborting)
	r.Error = why
}

// aborting discards what is staged and deletes the new key.
func (t *turn) aborting(ctx context.Context) (next, error) {
	r := t.rec.Rotation
	if a := t.attempt(); a != nil && a.State == journal.Intended {
		t.doubt(a, "the rotation was aborted while the create was under way")
	}
	if a := t.attempt(); a != nil {
		if err := t.discardAll(ctx, a.ID); err != nil {
			return next{}, err
		}
		if k := t.key(a.KeyID); k != nil && k.DeletedAt.IsZero() {
			k.Use = journal.UseRejected
			if err := t.destroy(ctx, remove, k.ID); err != nil {
				return next{}, err
			}
		}
		a.State, a.SettledAt = journal.Settled, t.now()
		t.drop(a.ID)
	}
	t.leaveHold()
	t.tell(journal.AbortEnded, "reached", string(r.Reached()), "error", r.Error)
	t.end(journal.Aborted, r.Error)
	return again, nil
}

// leaveHold holds the policy after a human turned a rotation back: the scheduler would begin again at once. It is written
// together with the rotation's end, since a hold before it would keep the gate shut.
func (t *turn) leaveHold() {
	if why := t.rec.Rotation.HoldAfter; why != "" {
		t.hold(why, "rotator")
	}
}

func (t *turn) hold(why, by string) {
	t.rec.Hold = journal.Hold{Reason: why, By: by, At: t.now()}
	t.tell(journal.HoldSet, "reason", why, "by", by)
}
