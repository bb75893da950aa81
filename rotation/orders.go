package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
)

// orders carries out what people asked for, oldest first. An order that can't be carried out is refused with a reason;
// one that needs an answer from outside that does not come stays open and is tried again. obeyed: one was closed.
func (t *turn) orders(ctx context.Context) (obeyed bool, err error) {
	for i := range t.rec.Orders {
		o := &t.rec.Orders[i]
		if !o.DoneAt.IsZero() {
			continue
		}
		refused, err := t.obey(ctx, o)
		if err != nil {
			return obeyed, err
		}
		obeyed = true
		o.DoneAt, o.Refused = t.now(), refused
		if r := t.rec.Rotation; r != nil && o.RotationID == "" {
			o.RotationID = r.ID
		}
		p := &t.rec.Policy
		p.StepAt = noTime // whoever asks wants to see it tried now
		if refused != "" {
			t.tell(journal.OrderRefused, "order", string(o.Kind), "by", o.By, "error", refused)
		}
	}
	return obeyed, nil
}

func (t *turn) obey(ctx context.Context, o *journal.Order) (refused string, err error) {
	switch o.Kind {
	case journal.OrderRotate:
		return t.orderRotate(ctx, o)
	case journal.OrderAbort:
		return t.orderAbort(o), nil
	case journal.OrderRollback:
		return t.orderRollback(ctx, o)
	case journal.OrderRevive:
		return t.orderRevive(ctx, o)
	case journal.OrderResolve:
		if o.Decision == journal.Adopt {
			return t.orderAdopt(ctx, o)
		}
		return t.orderResolve(ctx, o)
	case journal.OrderRehearse:
		return t.rehearse(ctx)
	case journal.OrderPropagation:
		r := t.rec.Rotation
		if r == nil || r.State != journal.Staged {
			return "no key waits for its propagation", nil
		}
		r.PropagationOK = true
		return "", nil
	}
	return fmt.Sprintf("unknown order %q", o.Kind), nil
}

func (t *turn) orderRotate(ctx context.Context, o *journal.Order) (string, error) {
	inUse := t.rec.Policy.KeyID
	refused, err := t.mayRotate(ctx, o)
	if k := t.key(inUse); k != nil && o.Trigger == journal.ByCompromise && refused == "" && err == nil {
		k.Health, k.HealthAt, k.BadAnswers = healthLeaked, t.now(), 0
	}
	return refused, err
}

func (t *turn) mayRotate(ctx context.Context, o *journal.Order) (string, error) {
	if !t.rec.Policy.RemovedAt.IsZero() {
		return "the policy was removed", nil
	}
	if t.held() {
		return fmt.Sprintf("held: %s; `rotator release %s` first", t.rec.Hold.Reason, t.claim.Policy), nil
	}
	r := t.rec.Rotation
	if r != nil && r.State != journal.Live && r.State != journal.Retiring {
		switch {
		case r.State == journal.Aborting:
			return "a rotation is being aborted", nil
		case r.State == journal.RollingBack && !o.Supersede:
			return "a rotation is being rolled back; --supersede gives that up and makes a new key", nil
		case r.State == journal.RollingBack:
			return t.takeOver(ctx, o)
		}
		if o.Trigger == journal.ByCompromise {
			r.Trigger, r.Why = o.Trigger, o.Why
		}
		return "", nil // it attaches to the one in flight
	}
	if r != nil && !o.Supersede && o.Trigger != journal.ByCompromise {
		return fmt.Sprintf("the last rotation is %s until %s; --supersede begins another now and keeps both old keys until the newest is live",
			r.State, t.retiredBy().UTC().Format(time.RFC3339)), nil
	}
	return t.takeOver(ctx, o)
}

// takeOver begins a rotation, in place of the one in flight if there is one: that one's keys all become predecessors.
func (t *turn) takeOver(ctx context.Context, o *journal.Order) (string, error) {
	switch err := t.mayCreate(ctx); {
	case gone(ctx, err):
		return "", err
	case err != nil:
		return err.Error(), nil
	}
	if t.rec.Rotation != nil {
		if err := t.supersede(ctx, "superseded by hand"); err != nil {
			return "", err
		}
	}
	t.begin(o.Trigger, o.Why)
	return "", nil
}

// retiredBy is when the rotation in flight will have retired its old keys, if nothing comes between.
func (t *turn) retiredBy() time.Time {
	r := t.rec.Rotation
	if !r.DisabledAt.IsZero() {
		return r.DisabledAt.Add(t.plan.Retire.Soak.Std())
	}
	return r.LiveAt.Add(t.plan.Retire.Overlap.Std() + t.plan.Retire.Soak.Std())
}

func (t *turn) orderAbort(o *journal.Order) string {
	r := t.rec.Rotation
	switch {
	case r == nil:
		return "no rotation is in flight"
	case r.State == journal.Aborting:
		return ""
	case !r.State.CanAbort():
		return fmt.Sprintf("the rotation is %s: consumers may read the new key; `rotator rollback %s` gives the old one back", r.State, t.claim.Policy)
	}
	t.abort("aborted by " + o.By + because(o.Why))
	r.HoldAfter = "a rotation was aborted by " + o.By + because(o.Why)
	return ""
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func (t *turn) orderRollback(ctx context.Context, o *journal.Order) (refused string, err error) {
	r := t.rec.Rotation
	switch {
	case r == nil:
		return "no rotation is in flight: the old key is gone", nil
	case r.State == journal.RollingBack:
		return "", nil
	case r.State.CanAbort():
		return fmt.Sprintf("nothing was promoted yet; `rotator abort %s`", t.claim.Policy), nil
	case !r.State.May(journal.RollingBack):
		return fmt.Sprintf("the rotation is %s", r.State), nil
	}
	old := t.oldKey()
	if old == nil {
		return "there is no old key to go back to", nil
	}
	switch {
	case !old.DeleteSentAt.IsZero():
		return t.deletionSent(old), nil
	case old.Health == healthLeaked:
		return t.staysOff(old), nil
	}
	spots, err := t.spots(t.plan)
	if err != nil {
		return "", err
	}
	switch _, err := t.oldValue(ctx, spots, *old); {
	case isReason(err, NoOldValue): // begun, it could go neither back nor forward
		return fmt.Sprintf("%v; `rotator revive %s` turns the old key on again and keeps both", err, t.claim.Policy), nil
	case err != nil:
		return "", err
	}
	t.tell(journal.RollbackBegun, "key_id", old.ID, "by", o.By, "why", o.Why)
	t.enter(journal.RollingBack)
	r.RestoreKeyID, r.DisabledAt, r.IdleWaitFrom = old.ID, noTime, noTime
	r.Error = "rolled back by " + o.By + because(o.Why)
	r.HoldAfter = "a rotation was rolled back by " + o.By + because(o.Why)
	if k := t.key(r.KeyID); k != nil && k.Use == journal.UseSuccessor {
		k.Use = journal.UsePredecessor // from now on it is a key to be retired, behind the gate's strictest rules
	}
	return "", nil
}

// oldKey is the key that a rollback goes back to: the one that this rotation replaced. One that was proved bad, or whose
// value could not be told from another, is passed over for the one before it.
func (t *turn) oldKey() *journal.Key {
	r := t.rec.Rotation
	var ids []string
	for _, k := range t.rec.Keys { // a key that was adopted after this rotation began is not among its old keys
		if !r.OldKeyIDs.Has(k.ID) && k.ID != t.rec.Policy.KeyID {
			ids = append(ids, k.ID)
		}
	}
	ids = append(ids, r.OldKeyIDs.List()...)
	if current := t.rec.Policy.KeyID; r.LiveAt.IsZero() {
		ids = append(ids, current)
	}
	for _, id := range slices.Backward(ids) {
		k := t.key(id)
		if k == nil || k.ID == r.KeyID || k.Use == journal.UseRejected || k.Use == journal.UseSuccessor || k.Health == healthDead ||
			!k.DeletedAt.IsZero() || k.Fingerprint == "" { // adopted from a list
			continue
		}
		return k
	}
	return nil
}

// deletionSent says why nothing may rely on a key again. A delete whose answer was lost may land at any later time.
func (t *turn) deletionSent(k *journal.Key) string {
	return fmt.Sprintf("the deletion of key %s was sent at %s and cannot be taken back; `rotator rotate %s --supersede` makes a new key",
		k.ID, k.DeleteSentAt.UTC().Format(time.RFC3339), t.claim.Policy)
}

// staysOff says why a compromised key is not given to consumers again.
func (t *turn) staysOff(k *journal.Key) string {
	return fmt.Sprintf("key %s was reported as compromised and is not turned on again; `rotator rotate %s --supersede` makes a new key", k.ID, t.claim.Policy)
}

func (t *turn) orderRevive(ctx context.Context, o *journal.Order) (string, error) {
	r := t.rec.Rotation
	if r == nil || r.State != journal.Live && r.State != journal.Retiring {
		return "no old key waits to be deleted", nil
	}
	old := t.predecessors()
	for _, id := range old {
		switch k := t.key(id); {
		case !k.DeleteSentAt.IsZero():
			return t.deletionSent(k), nil
		case k.Health == healthLeaked:
			return t.staysOff(k), nil
		}
	}
	for _, id := range old {
		if t.key(id).DisableSentAt.IsZero() {
			continue
		}
		switch err := t.enable(ctx, id); {
		case isReason(err, OldKeyBad):
			return err.Error(), nil
		case err != nil:
			return "", err
		}
	}
	if r.State == journal.Retiring {
		t.enter(journal.Live)
		r.DisabledAt = noTime
	}
	t.hold("the old key was revived by "+o.By+because(o.Why), o.By)
	return "", nil
}

// named is the target of that name: as the policy has it, or as the map knows one of former times.
func (t *turn) named(id journal.TargetID) (pt policies.Target, known bool) {
	for _, pt := range t.policy.Targets {
		if idOf(pt) == id {
			return pt, true
		}
	}
	known = slices.ContainsFunc(t.rec.Targets, func(row journal.Target) bool { return row.TargetID == id })
	return policies.Target{Store: id.Store, Path: id.Path, Field: id.Field}, known
}

func (t *turn) orderResolve(ctx context.Context, o *journal.Order) (string, error) {
	switch o.Decision {
	case journal.Overwrite, journal.Leave, journal.Drop:
	default:
		return fmt.Sprintf("unknown decision %q", o.Decision), nil
	}
	pt, known := t.named(o.Target)
	if !known {
		return fmt.Sprintf("%s is no target of %s", o.Target, t.claim.Policy), nil
	}
	if o.Decision != journal.Drop { // the word is about what stands there now
		s, err := t.spot(pt)
		if err != nil {
			return err.Error(), nil
		}
		if _, err := t.look(ctx, s); gone(ctx, err) {
			return "", err
		} else if err != nil { // kept open it would hold everything else up
			return fmt.Sprintf("what stands there now cannot be read; try again later: %v", err), nil
		}
	}
	if key := t.row(o.Target).KeyID; o.Decision == journal.Leave && key != "" && key == t.rec.Policy.KeyID {
		return fmt.Sprintf("%s holds the key in use: left, it would keep that for ever, and the key could never be retired; "+
			"--drop takes the target out of the policy's hands", o.Target), nil
	}
	if o.Decision == journal.Overwrite {
		switch err := t.giveBack(ctx, o.Target); {
		case gone(ctx, err):
			return "", err
		case err != nil:
			return fmt.Sprintf("the key in use could not be put there; try again later: %v", err), nil
		}
	}
	row := t.row(o.Target)
	row.Decision, row.DecidedFor = o.Decision, row.Fingerprint
	if row.ContactAt.IsZero() {
		row.ContactAt = t.now()
	}
	switch o.Decision {
	case journal.Overwrite:
		row.Replaceable, row.Status = row.Fingerprint, journal.TargetOK
		if row.Fingerprint == "" {
			row.Status = journal.TargetEmpty
		}
	case journal.Leave:
		row.Status = journal.TargetOK
	case journal.Drop:
		row.Status, row.RemovedAt = journal.TargetOK, t.now()
	}
	t.tell(journal.TargetResolved, "target", o.Target.String(), "decision", string(o.Decision), "by", o.By)
	return "", nil
}
