package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

// destruction is what the gate lets through.
type destruction string

const (
	disable destruction = "disable"
	remove  destruction = "delete"
)

// destroy is the one gate: every disable and every delete of a key passes it, whoever asks. It refuses unless
//
//   - the key is ours by the journal, and no hold is in force now;
//   - no target holds it now: every target of the policy, and every one that the journal's map names for this key over
//     all policies and all targets ever used, is read afresh, and one that cannot be read blocks. For an adopted key that
//     is every target of every policy, since nobody knows who was given it before;
//   - for a key that consumers once read: its successor stands in every target of the policy now, and proves itself;
//   - xAI's management key was validated for the key's own team, and our clock agrees with xAI's.
//
// The intent is recorded before the call, so that a rollback knows of a disable that may still be on its way.
// Repeating it after a crash is harmless: a key that is off stays off, and a key that is gone is gone.
func (t *turn) destroy(ctx context.Context, what destruction, keyID string) error {
	k := t.key(keyID)
	if k == nil {
		return stuckf(Internal, "%s key %s: the journal does not name it as a key of %s", what, keyID, t.claim.Policy)
	}
	if !k.DeletedAt.IsZero() || what == disable && !k.DisabledAt.IsZero() {
		return nil
	}
	if err := t.unheld(ctx, what, keyID); err != nil {
		return err
	}
	if err := t.reconciled(ctx); err != nil {
		return err
	}
	team, err := t.team(ctx, k.Team)
	if err != nil {
		return err
	}
	if err := t.vouched(ctx, k.Team, team); err != nil {
		return err
	}
	if err := t.dispensable(ctx, *k); err != nil {
		return err
	}
	if err := t.unheld(ctx, what, keyID); err != nil { // again: all this took a while
		return err
	}
	if what == disable {
		return t.turnOff(ctx, team, k)
	}
	return t.erase(ctx, team, k)
}

// unheld reads the hold afresh: people set it without a claim, at any moment.
func (t *turn) unheld(ctx context.Context, what destruction, keyID string) error {
	hold, err := t.journal.HoldOf(ctx, t.claim.Policy)
	if err != nil {
		return err
	}
	if hold.Active(t.now()) {
		t.rec.Hold, t.rec.Base.Hold = hold, hold // as it was said: the commit must not say it again, it may be taken back meanwhile
		return stuckf(Held, "%s key %s: %s is held", what, keyID, t.claim.Policy)
	}
	return nil
}

// vouched shows that the management key speaks for the team and that our clock and xAI's agree.
func (t *turn) vouched(ctx context.Context, name string, team Team) error {
	mk, err := team.About.Validate(ctx)
	if err != nil {
		return err
	}
	if of := mk.TeamID; of != "" && of != team.ID {
		return stuckf(ManagementKey, "the management key of team %s belongs to another team", name)
	}
	if mk.Date.IsZero() {
		return stuckf(ClockSkew, "xAI's answer bears no date to compare our clock with")
	}
	if skew := t.now().Sub(mk.Date).Abs(); skew > t.limits.ClockSkew {
		return stuckf(ClockSkew, "our clock and xAI's differ by %s", skew.Round(time.Second))
	}
	return nil
}

// dispensable shows that no consumer reads the key: by what the targets hold now, not by what the journal says of them.
func (t *turn) dispensable(ctx context.Context, k journal.Key) error {
	if !journal.Fenced {
		return nil
	}
	if err := t.heldNowhere(ctx, k); err != nil || k.Use == journal.UseRejected {
		return err
	}
	return t.succeeded(ctx, k)
}

// succeeded shows that consumers read another key, which works: every target of the plan holds the key in use, and what
// they hold proves itself.
func (t *turn) succeeded(ctx context.Context, k journal.Key) error {
	p := t.rec.Policy
	if p.KeyID == "" || p.KeyID == k.ID {
		return stuckf(NotProved, "key %s is the policy's key in use: it has no successor", k.ID)
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return err
	}
	for i, s := range spots {
		v, err := t.look(ctx, s)
		if err != nil {
			return err
		}
		if row := t.row(s.id); row.Fingerprint != p.Fingerprint && row.Decision == journal.Overwrite && row.DecidedFor == row.Fingerprint {
			return stuckf(DriftFound, "%s does not hold key %s any more, and nothing could put it back; `rotator rotate %s --supersede` makes a new one", s.id, p.KeyID, p.Name)
		}
		if string(v.Fingerprint()) != p.Fingerprint {
			return stuckf(DriftFound, "%s does not hold key %s any more; say `rotator resolve %s --target %s --overwrite|--leave|--drop`", s.id, p.KeyID, p.Name, s.id)
		}
		if i > 0 {
			continue // the same bytes
		}
		err = t.proveUsed(ctx, v, p.KeyID)
		if xai.ProvesBad(err) {
			return stuckf(NotProved, "key %s, which consumers read, is refused: %w", p.KeyID, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turnOff disables a key.
func (t *turn) turnOff(ctx context.Context, team Team, k *journal.Key) error {
	k.DisableSentAt = t.now()
	if err := t.commit(ctx, false); err != nil {
		return err
	}
	off := true
	got, err := team.Keys.UpdateKey(ctx, team.ID, k.ID, xai.KeyUpdate{Disabled: &off})
	switch class := xai.ClassOf(err); {
	case class == xai.ClassNotFound:
		return t.confirmGone(ctx, team, k)
	case class == xai.ClassInvalid, err == nil && !got.Disabled:
		// Whether keys can be disabled is not documented for certain. Then they are deleted after the soak as they are.
		t.tell(journal.KeyNotDisabled, "key_id", k.ID)
		return nil
	case err != nil:
		return err
	}
	k.DisabledAt = t.now()
	t.tell(journal.KeyDisabled, "key_id", k.ID)
	return nil
}

// erase deletes a key for good.
func (t *turn) erase(ctx context.Context, team Team, k *journal.Key) error {
	k.DeleteSentAt = t.now()
	if err := t.commit(ctx, false); err != nil {
		return err
	}
	err := team.Keys.DeleteKey(ctx, k.ID)
	if xai.ClassOf(err) == xai.ClassNotFound {
		return t.confirmGone(ctx, team, k)
	}
	if err != nil {
		return err
	}
	t.goneForGood(k)
	return nil
}

// confirmGone believes "cannot find" only when a full list of the key's own team lacks the id as well.
func (t *turn) confirmGone(ctx context.Context, team Team, k *journal.Key) error {
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	for _, have := range list.Keys {
		if have.ID == k.ID {
			return &xai.Error{Op: xai.OpDelete, Class: xai.ClassUnavailable, Code: "not_found_but_listed"}
		}
	}
	t.goneForGood(k)
	return nil
}

func (t *turn) goneForGood(k *journal.Key) {
	k.DeletedAt = t.now()
	t.tell(journal.KeyDeleted, "key_id", k.ID)
}

// enable turns a key on again. It destroys nothing and needs no gate.
func (t *turn) enable(ctx context.Context, keyID string) error {
	k := t.key(keyID)
	if k == nil {
		return stuckf(Internal, "enable key %s: the journal does not name it as a key of %s", keyID, t.claim.Policy)
	}
	team, err := t.team(ctx, k.Team)
	if err != nil {
		return err
	}
	off := false
	got, err := team.Keys.UpdateKey(ctx, team.ID, k.ID, xai.KeyUpdate{Disabled: &off})
	if xai.ClassOf(err) == xai.ClassInvalid && k.DisabledAt.IsZero() { // xAI turns keys neither off nor on, perhaps
		if on, listErr := listedOn(ctx, team, k.ID); on || listErr != nil {
			return listErr
		}
	}
	if xai.ClassOf(err) == xai.ClassNotFound {
		return stuckf(OldKeyBad, "enable key %s: it is gone; `rotator rotate %s --supersede` makes a new one: %w", k.ID, t.claim.Policy, err)
	}
	if err != nil {
		return err
	}
	if got.Disabled {
		return fmt.Errorf("enable key %s: xAI says that it is still disabled", k.ID)
	}
	k.DisabledAt = noTime
	t.tell(journal.KeyEnabled, "key_id", k.ID)
	return nil
}

// listedOn reports whether the team's list has the key, and not as one that is off.
func listedOn(ctx context.Context, team Team, id string) (bool, error) {
	list, err := team.Keys.ListKeys(ctx, team.ID)
	return slices.ContainsFunc(list.Keys, func(k xai.Key) bool { return k.ID == id && !k.Disabled }), err
}

// isReason reports whether err is stuck for that reason.
func isReason(err error, r journal.Reason) bool {
	var s *stuck
	return errors.As(err, &s) && s.reason == r
}
