package rotation

import (
	"context"
	"time"

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
	if err := t.leaveHold(ctx); err != nil {
		return next{}, err
	}
	t.tell(journal.AbortEnded, "error", r.Error)
	t.end(journal.Aborted, r.Error)
	return again, nil
}

// leaveHold holds the policy after a human turned a rotation back: the scheduler would begin again at once.
func (t *turn) leaveHold(ctx context.Context) error {
	r := t.rec.Rotation
	if r.HoldAfter == "" {
		return nil
	}
	h := journal.Hold{Reason: r.HoldAfter, By: "rotator", At: t.now(), Until: time.Time{}}
	e := journal.Event{At: h.At, Policy: t.claim.Policy, Rotation: r.ID, Kind: journal.HoldSet, Data: map[string]string{"reason": h.Reason}}
	if err := t.journal.SetHold(ctx, h.At, t.claim.Policy, h, e); err != nil {
		return err
	}
	t.rec.Hold = h
	return nil
}
