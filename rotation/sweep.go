package rotation

import (
	"context"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

// sweepPace is the pause between two looks for the key of an attempt in doubt.
const sweepPace = time.Minute

// sweep settles the policy's attempts whose time has come: a lost one by deleting its key, one in doubt by looking for
// its name now, through the quarantine, and once more after its end. What may be staged of a lost one is discarded at both
// ends too. A failure is kept with the attempt and tried again; it never holds the rotation up.
func (t *turn) sweep(ctx context.Context) error {
	for _, id := range t.unsettled() {
		a := t.attemptByID(id)
		if t.ahead(a.SweepAt) {
			t.stands(a.Error)
			continue
		}
		err := t.settleAttempt(ctx, id)
		if gone(ctx, err) {
			return err
		}
		a = t.attemptByID(id)
		if err != nil {
			a.Error = err.Error()
			tired := min(t.now().Sub(a.CreatedAt)/4, t.limits.MaxBackoff) // the longer it goes on, the more patience
			a.SweepAt = t.now().Add(max(sweepPace, tired, retryAfter(err)))
			t.log.Warn("attempt not settled", "attempt", id, "err", err)
			t.worry(err)
		}
	}
	return nil
}

func (t *turn) attemptByID(id string) *journal.Attempt {
	for i := range t.rec.Attempts {
		if t.rec.Attempts[i].ID == id {
			return &t.rec.Attempts[i]
		}
	}
	return nil
}

func (t *turn) settleAttempt(ctx context.Context, id string) error {
	if a := t.attemptByID(id); a.State == journal.InDoubt {
		if err := t.find(ctx, a); err != nil {
			return err
		}
	}
	a := t.attemptByID(id)
	if a.State != journal.Lost {
		return nil
	}
	if err := t.discardAll(ctx, a.ID); err != nil {
		return err
	}
	if t.key(a.KeyID) != nil { // else it is known to be deleted
		if err := t.destroy(ctx, remove, a.KeyID); err != nil {
			return err
		}
	}
	a = t.attemptByID(id)
	if a.Fingerprint != "" && t.ahead(a.QuarantineUntil) {
		a.SweepAt, a.Error = a.QuarantineUntil, ""
		return nil
	}
	a.State, a.SettledAt, a.Error = journal.Settled, t.now(), ""
	t.tell(journal.KeySettled, "attempt", a.ID, "key_id", a.KeyID)
	return nil
}

// find looks for the one key that bears the attempt's name, and records its id before anything touches it.
func (t *turn) find(ctx context.Context, a *journal.Attempt) error {
	team, err := t.team(ctx, a.Team)
	if err != nil {
		return err
	}
	asked := t.now()
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	var found []xai.Key
	for _, k := range list.Keys {
		if k.Name == a.Name {
			found = append(found, k)
		}
	}
	switch {
	case len(found) > 1:
		return stuckf(AmbiguousName, "%d keys of team %s bear the name %s; none is touched", len(found), a.Team, a.Name)
	case len(found) == 0 && asked.Before(a.QuarantineUntil):
		a.SweepAt = minTime(t.now().Add(sweepPace), a.QuarantineUntil)
		return nil
	case len(found) == 0 && !list.Date.IsZero() && t.now().Sub(list.Date).Abs() > t.limits.ClockSkew:
		// By xAI's clock the quarantine may have only begun.
		return stuckf(ClockSkew, "our clock and xAI's differ by %s: the quarantine of %s can't be told to be over", t.now().Sub(list.Date).Abs().Round(time.Second), a.Name)
	case len(found) == 0:
		a.State, a.SettledAt, a.Error = journal.Settled, t.now(), ""
		t.tell(journal.KeySettled, "attempt", a.ID)
		return nil
	}
	k := found[0]
	a.State, a.KeyID = journal.Lost, k.ID
	if t.key(k.ID) == nil {
		t.rec.Keys = append(t.rec.Keys, journal.Key{
			ID: k.ID, Policy: t.claim.Policy, Team: a.Team, Name: k.Name,
			Origin: journal.OfAttempt, Attempt: a.ID, Use: journal.UseRejected, CreatedAt: k.Created, ExpiresAt: k.Expires,
		})
	}
	t.tell(journal.KeyFound, "attempt", a.ID, "key_id", k.ID)
	return t.commit(ctx, false)
}

// stands shows on how the last look at something beside the rotation ended, which is not due again yet.
func (t *turn) stands(err string) {
	if p := t.rec.Policy; err != "" && err == p.Error && p.Failures == 0 {
		t.worried = p.Reason
	}
}

// worry shows a failure of the work beside the rotation in the policy's row, unless the rotation has one of its own.
func (t *turn) worry(err error) {
	t.worried, t.rec.Policy.Error = reasonOf(err), err.Error()
}
