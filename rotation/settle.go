package rotation

import (
	"context"
	"errors"
	"slices"
	"time"

	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// settlePace is the pause between two looks for what an effect without an answer left behind.
const settlePace = time.Minute

// settle finds out what became of effects whose outcome is not known, and does what is owed for those that are: a create is
// looked for by its name, what was staged is removed, and a key that a late disable turned off is turned on again. A
// failure never holds a rotation up.
func settle(ctx context.Context, r *run) Outcome {
	var all Outcome
	parts := []func(context.Context, *run) Outcome{creates, staging, switches, writes}
	if r.engine.observing() != nil {
		parts = parts[:1] // what is owed stays owed
	}
	for _, part := range parts {
		out := part(ctx, r)
		if gone(ctx, out.Err) || r.unsure != nil {
			return out
		}
		all = foremostOf(all, out)
	}
	if err := timedToClose(ctx, r); gone(ctx, err) || r.unsure != nil {
		return failed(err)
	}
	r.runner.Tidy(func(e journal.Effect) bool { return isOwed(r, e) })
	return all
}

// timedToClose asks for xAI's clock where the journal's says that a change of a key can land no more: a policy at rest asks
// xAI for nothing else, and the row would stay open until the next rotation. Without an answer it does.
func timedToClose(ctx context.Context, r *run) error {
	for _, e := range r.rec.Effects {
		k := r.rec.Key(e.Key)
		if r.timed || !e.ClosedAt.IsZero() || e.Kind.OnTarget() || e.State != journal.EffectDone && e.State != journal.EffectUnknown || r.now().Before(e.QuietAt) || isOwed(r, e) {
			continue
		}
		team := r.policy.Team
		if k != nil {
			team = k.Team
		}
		return r.xaiTime(ctx, team)
	}
	return nil
}

// isOwed reports that something is owed for an effect, so that its row must stay.
func isOwed(r *run, e journal.Effect) bool {
	switch e.Kind {
	case journal.EffectStage:
		return e.State == journal.EffectDone || e.State == journal.EffectUnknown // until an unstage settles it
	case journal.EffectUnstage: // it counts until nothing can be staged there any more
		return (e.State == journal.EffectDone || e.State == journal.EffectUnknown) && slices.ContainsFunc(r.rec.Effects, func(stage journal.Effect) bool {
			return stage.Kind == journal.EffectStage && stage.Object() == e.Object() && stage.ClosedAt.IsZero()
		})
	case journal.EffectPromote: // a read may lag behind it
		return e.State == journal.EffectDone && r.now().Sub(e.AckAt).Abs() < 2*time.Minute
	case journal.EffectUpdate:
		return owesLook(r, e)
	case journal.EffectDisable:
		return owesEnable(r, e)
	case journal.EffectEnable:
		k := r.rec.Key(e.Key)
		if k == nil || !k.Revoked() || k.State == journal.DeletingKey {
			return false
		}
		_, owed := owedDisable(r, k)
		return owed
	case journal.EffectCreate:
		k := r.rec.Key(e.Key)
		return k != nil && k.State == journal.CreatingKey
	}
	return false
}

// creates looks for the keys of creates whose outcome is not known: at first, every minute while they may land, and once
// more when they cannot any more.
func creates(ctx context.Context, r *run) Outcome {
	var all Outcome
	for i := 0; i < len(r.rec.Keys); i++ {
		k := &r.rec.Keys[i]
		if rot := r.rec.Rotation; k.State != journal.CreatingKey || rot != nil && rot.KeyRef == k.Ref {
			continue
		}
		if r.postponed(k.TryAt) {
			all = foremostOf(all, stands(k.TryAt, k.Reason, standing(k)))
			continue
		}
		ref := k.Ref
		out := find(ctx, r, k)
		if gone(ctx, out.Err) {
			return out
		}
		k = r.rec.Key(ref)
		switch {
		case out.Err != nil:
			tired := min(r.now().Sub(k.CreatedAt)/4, r.engine.limits.MaxBackoff) // the longer it goes on, the more patience
			failKey(r, k, out.Err)
			k.TryAt = r.now().Add(max(settlePace, tired, retryAfter(out.Err)))
			out.Wait = k.TryAt
		case !out.Moved:
			restKey(r, k, out.Wait, "")
		}
		all = foremostOf(all, out)
	}
	return all
}

func standing(k *journal.Key) string {
	if k.Reason == "" {
		return ""
	}
	return k.Error
}

// leastName is how many characters of a ref a shortened name must have for a key to be taken for one of ours.
const leastName = 12

// find looks for the one key that has the recorded name, and records its id before anything touches it.
func find(ctx context.Context, r *run, k *journal.Key) Outcome {
	list, err := r.list(ctx, k.Team)
	if err != nil {
		return failed(err)
	}
	var found []xai.Key
	for _, have := range list.Keys {
		switch {
		case have.Name == k.Name:
			found = append(found, have)
		case cutShort(r, have, k):
			return failed(reason.Errorf(reason.NamesCut, "xAI lists key %s as %q, which may be %q cut short; `rotator resolve %s --key %s --why W` says that it is ours",
				have.ID, have.Name, k.Name, r.claim.Policy, have.ID))
		}
	}
	quiet := quietAt(r, k.Ref, journal.EffectCreate)
	switch {
	case len(found) > 1:
		return failed(reason.Errorf(reason.AmbiguousName, "%d keys of team %s have the name %s; none is touched", len(found), k.Team, k.Name))
	case len(found) == 1:
		foundKey(r, k, found[0], "", "")
		return moved
	case !r.clock().Passed(quiet):
		if list.Date.IsZero() || r.ahead.Abs() > r.engine.limits.ClockSkew {
			if err := clocksAgree(r); err != nil && !r.now().Before(quiet) {
				return failed(err)
			}
		}
		return waits(minTime(r.now().Add(settlePace), later(quiet, r.now().Add(time.Second))), "")
	case !couldShow(r, list, k):
		return failed(reason.Errorf(reason.AbsenceUnproved, "no list shows a key named %s, and none could have shown it", k.Name))
	}
	r.move(k, journal.AbsentKey)
	settleAll(r, k.Ref, journal.EffectCreate)
	r.tell(journal.KeySettled, "ref", k.Ref)
	return moved
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// quietAt is when the last effect of a kind on a key cannot land any more.
func quietAt(r *run, ref string, kind journal.EffectKind) (at time.Time) {
	for _, e := range r.rec.Effects {
		if e.Key == ref && e.Kind == kind && e.QuietAt.After(at) {
			at = e.QuietAt
		}
	}
	return at
}

func settleAll(r *run, ref string, kind journal.EffectKind) {
	for _, e := range r.rec.Effects {
		if e.Key == ref && e.Kind == kind && e.ClosedAt.IsZero() {
			r.runner.Settle(e.ID)
		}
	}
}

// staging removes what is staged of keys that need it no more. Every stage owes an unstage; one without an answer owes
// another when it cannot land any more.
func staging(ctx context.Context, r *run) Outcome {
	var all Outcome
	for _, e := range slices.Clone(r.rec.Effects) {
		if e.Kind != journal.EffectStage || !e.ClosedAt.IsZero() || e.State == journal.EffectOpen || needsStaging(r, e.Key) || needsFormer(r, e) {
			continue
		}
		if now := r.effect(e.ID); now == nil || !now.ClosedAt.IsZero() {
			continue // settled with an earlier one of the same object
		}
		last := lastUnstage(r, e.Object())
		landing := e.State == journal.EffectUnknown && !effect.Quiet(e, r.clock())
		if landing && last.State == journal.EffectDone { // once is done; again when it cannot land any more
			all = foremostOf(all, waits(e.QuietAt, ""))
			continue
		}
		if last.State == journal.EffectUnknown {
			if again := last.At.Add(tiredPause(r, last.At.Sub(e.At))); r.now().Before(again) {
				all = foremostOf(all, stands(again, reason.StoreUnavailable, last.Error))
				continue
			}
		}
		out := unstage(ctx, r, e, landing)
		if gone(ctx, out.Err) || r.unsure != nil {
			return out
		}
		all = foremostOf(all, out)
	}
	return all
}

// tiredPause is the pause after a try of something that had failed for so long: the longer it goes on, the more patience.
func tiredPause(r *run, failing time.Duration) time.Duration {
	return min(max(failing.Abs()/4, time.Second), r.engine.limits.MaxBackoff)
}

func (r *run) effect(id string) *journal.Effect {
	for i := range r.rec.Effects {
		if r.rec.Effects[i].ID == id {
			return &r.rec.Effects[i]
		}
	}
	return nil
}

// needsStaging reports whether a key's value may still have to be found where it is staged: until it is live.
func needsStaging(r *run, ref string) bool {
	k := r.rec.Key(ref)
	if k == nil || k.State != journal.CandidateKey && k.State != journal.PromotingKey && k.State != journal.StandbyKey {
		return false
	}
	return k.State == journal.StandbyKey || r.rec.Rotation != nil && r.rec.Rotation.KeyRef == ref
}

func lastUnstage(r *run, on journal.Object) (last journal.Effect) {
	for _, e := range r.rec.Effects {
		if e.Kind == journal.EffectUnstage && e.Object() == on && e.At.After(last.At) {
			last = e
		}
	}
	return last
}

func unstage(ctx context.Context, r *run, e journal.Effect, landing bool) Outcome {
	h, err := r.reader.HandleOf(e.Target)
	if err != nil {
		if row := r.reader.Row(e.Target); row.Decision == journal.Drop { // its store may be no more
			r.runner.Settle(e.ID)
			return moved
		}
		return Outcome{Err: err, Wait: r.now().Add(settlePace)}
	}
	err = r.runner.Do(ctx, journal.Effect{Key: e.Key, Kind: journal.EffectUnstage, Target: e.Target}, func(ctx context.Context) error {
		return h.Unstage(ctx, e.Key)
	})
	switch {
	case errors.Is(err, effect.ErrWithdrawn):
		return moved
	case err != nil && !gone(ctx, err) && r.reader.Row(e.Target).Decision == journal.Drop:
	case err != nil:
		return Outcome{Err: err, Wait: r.now().Add(tiredPause(r, r.now().Sub(e.At)))}
	}
	if landing {
		return moved // the row stays, for another unstage when it is quiet
	}
	for _, other := range r.rec.Effects {
		if other.Kind == journal.EffectStage && other.Object() == e.Object() && other.ClosedAt.IsZero() &&
			(other.State == journal.EffectDone || effect.Quiet(other, r.clock())) {
			r.runner.Settle(other.ID)
		}
	}
	return moved
}

// writes settles promotes without an answer that no rotation comes back to: by a fence and a read, else by waiting.
func writes(ctx context.Context, r *run) Outcome {
	var all Outcome
	for _, e := range slices.Clone(r.rec.Effects) {
		rot := r.rec.Rotation
		if e.Kind != journal.EffectPromote || e.State != journal.EffectUnknown || rot != nil && (rot.KeyRef == e.Key || rot.State == journal.Promoting) {
			continue
		}
		if effect.Quiet(e, r.clock()) {
			continue // Tidy closes it
		}
		h, err := r.reader.HandleOf(e.Target)
		if err != nil || !h.CanFence() {
			all = foremostOf(all, waits(e.QuietAt, ""))
			continue
		}
		taken, err := takePlace(ctx, r, h.ID)
		if err == nil && !taken {
			all = foremostOf(all, waits(placePause(r), reason.WaitPlace))
			continue
		}
		var until time.Time
		if err == nil {
			until, err = fenceOff(ctx, r, nil, h)
			freePlace(ctx, r)
		}
		if gone(ctx, err) || r.unsure != nil {
			return failed(err)
		}
		if err != nil {
			all = foremostOf(all, Outcome{Wait: minTime(e.QuietAt, r.now().Add(settlePace)), Reason: reason.StoreUnavailable})
			continue
		}
		if !until.IsZero() {
			all = foremostOf(all, waits(until, ""))
		} else {
			all = foremostOf(all, moved)
		}
	}
	return all
}
