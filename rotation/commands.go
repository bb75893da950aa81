package rotation

import (
	"context"
	"fmt"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// commands carries out what people asked for, oldest first. What can't be carried out is refused with a reason; what needs
// an answer from outside that does not come stays open and is tried again.
func commands(ctx context.Context, r *run) Outcome {
	return carryOut(ctx, r, func(*journal.Order) bool { return true })
}

// carryOut carries out the orders that which says yes to.
func carryOut(ctx context.Context, r *run, which func(*journal.Order) bool) Outcome {
	out := nothing
	for i := range r.rec.Orders {
		o := &r.rec.Orders[i]
		if !o.DoneAt.IsZero() || !which(o) {
			continue
		}
		refused, err := obey(ctx, r, o)
		if gone(ctx, err) || r.unsure != nil {
			return failed(err)
		}
		if err != nil {
			age := r.now().Sub(o.At).Abs()
			out = foremostOf(out, Outcome{Err: err, Wait: r.now().Add(min(max(age/2, r.backoff(1)), r.engine.limits.MaxBackoff))})
			continue
		}
		o.DoneAt, o.Refused = r.now(), refused
		rot := r.rec.Rotation
		if rot != nil && o.RotationID == "" {
			o.RotationID = rot.ID
		}
		if rot != nil {
			rot.TryAt = noTime // whoever asks wants to see it tried now
		}
		if refused != "" {
			r.tell(journal.OrderRefused, "order", string(o.Kind), "by", o.By, "error", refused)
		}
		out = foremostOf(out, moved)
	}
	return out
}

func obey(ctx context.Context, r *run, o *journal.Order) (refused string, err error) {
	if err := r.engine.observing(); err != nil && !onlyRecords(o) {
		return err.Error(), nil
	}
	switch o.Kind {
	case journal.OrderRotate, journal.OrderRollback, journal.OrderRevive, journal.OrderRehearse:
		if r.rec.Policy.Leaving() {
			return decommissioned(r), nil
		}
	}
	switch o.Kind {
	case journal.OrderRotate:
		return orderRotate(ctx, r, o)
	case journal.OrderAbort:
		if r.rec.Policy.Leaving() {
			return orderWithdraw(ctx, r, o)
		}
		return orderAbort(r, o), nil
	case journal.OrderRollback:
		return orderRollback(ctx, r, o)
	case journal.OrderRevive:
		return orderRevive(ctx, r, o)
	case journal.OrderDecommission:
		return orderDecommission(r, o), nil
	case journal.OrderRevoke:
		return orderRevoke(ctx, r, o)
	case journal.OrderResolve:
		switch o.Decision {
		case journal.Adopt:
			return orderAdopt(ctx, r, o)
		case journal.Despite:
			return orderDespite(r, o), nil
		case journal.Ours:
			return orderOurs(ctx, r, o)
		}
		return orderResolve(ctx, r, o)
	case journal.OrderRehearse:
		return rehearse(ctx, r)
	case journal.OrderPropagation:
		rot := r.rec.Rotation
		if rot == nil || rot.State != journal.Staged || r.rec.Key(rot.KeyRef) == nil {
			return "no key waits for its propagation", nil
		}
		r.rec.Key(rot.KeyRef).PropagationWaivedAt = r.now() // it is said of this key, and ends with it
		return "", nil
	}
	return fmt.Sprintf("unknown order %q", o.Kind), nil
}

func orderRotate(ctx context.Context, r *run, o *journal.Order) (string, error) {
	if !r.rec.Policy.RemovedAt.IsZero() {
		return "the policy was removed", nil
	}
	if o.Trigger == journal.ByCompromise {
		return orderCompromised(ctx, r, o)
	}
	rot := r.rec.Rotation
	if h := r.rec.Hold; rot != nil && rot.Trigger == journal.ByRollback && o.Supersede && h.Scope == journal.HoldRotations {
		r.rec.Hold = journal.Hold{} // the rollback set it, and is given up
		r.tell(journal.HoldReleased, "by", o.By, "why", "rotate --supersede gives the rollback up")
	} else if h.Active(r.now()) {
		return fmt.Sprintf("held: %s; `rotator release %s` first", h.Reason, r.claim.Policy), nil
	}
	if rot != nil {
		switch {
		case !rot.Existing:
			wantKey(r, o.Trigger, o.Why, o.By) // it attaches to the one in flight
			return "", nil
		case !o.Supersede:
			return "a rotation goes back to an older key; --supersede gives that up and makes a new key", nil
		}
	} else if at, what := retiredBy(r); what != "" && !o.Supersede {
		return fmt.Sprintf("the last rotation's old key is %s until %s; --supersede begins another now and keeps both old keys until the newest is live",
			what, at.UTC().Format(timeFormat)), nil
	}
	return takeOver(ctx, r, o)
}

// orderCompromised records that a key is known to others. Another key is wanted at once if it is the live one; a hold gives
// way.
func orderCompromised(ctx context.Context, r *run, o *journal.Order) (string, error) {
	rot := r.rec.Rotation
	k := r.rec.Live()
	if ids := o.KeyIDs.List(); len(ids) > 0 {
		if k = r.rec.KeyByID(ids[0]); k == nil {
			return fmt.Sprintf("key %s is not one of %s", ids[0], r.claim.Policy), nil
		}
	} else if rot != nil && rot.State == journal.Promoting && k != nil && rot.KeyRef != k.Ref {
		return fmt.Sprintf("a rotation is being promoted: say with --key which key is known to others, %s or %s", k.ID, rot.KeyID), nil
	}
	if k != nil {
		compromiseKey(r, k, o.Why, o.By)
	}
	if r.rec.Hold.Active(r.now()) {
		r.rec.Hold = journal.Hold{}
		r.tell(journal.HoldReleased, "by", o.By, "why", "rotate --compromised lifts it")
	}
	if k != nil && k.State != journal.LiveKey && k.State != journal.PromotingKey && r.rec.Live() != nil {
		return "", nil // it goes as it is; what consumers read is another key
	}
	if rot != nil && !rot.Existing && rot.State != journal.Promoting {
		wantKey(r, o.Trigger, o.Why, o.By)
		rot.Trigger, rot.Why = o.Trigger, o.Why
		return "", nil
	}
	if rot != nil && rot.KeyRef != "" && k != nil && rot.KeyRef != k.Ref && rot.State == journal.Promoting {
		return "", nil // the rotation in flight replaces it
	}
	return takeOver(ctx, r, o)
}

// takeOver begins a rotation, in place of the one in flight if there is one: that one's keys are all to be retired. It is
// wanted until a new key is live.
func takeOver(ctx context.Context, r *run, o *journal.Order) (string, error) {
	wantKey(r, o.Trigger, o.Why, o.By)
	err := mayCreate(ctx, r)
	if err == nil {
		err = reconciling(ctx, r)
	}
	if gone(ctx, err) {
		return "", err
	}
	_, waits := frozen(r, o.Trigger)
	if err != nil || waits && r.rec.Rotation == nil {
		return "", nil // it begins as soon as it may; until then the policy shows why it waits
	}
	if r.rec.Rotation != nil {
		supersede(r, journal.Superseded, "superseded by hand")
	}
	r.begin(o.Trigger, o.Why, o.By)
	return "", nil
}

func orderAbort(r *run, o *journal.Order) string {
	rot := r.rec.Rotation
	switch {
	case rot == nil:
		if live := r.rec.Live(); live != nil && newestOld(r, live) != nil {
			return fmt.Sprintf("no rotation is in flight: consumers read the new key; `rotator rollback %s` gives the old one back", r.claim.Policy)
		}
		return "no rotation is in flight"
	case !rot.State.CanAbort():
		return fmt.Sprintf("the rotation is %s: consumers may read the new key; `rotator rollback %s` gives the old one back", rot.State, r.claim.Policy)
	}
	o.RotationID = rot.ID
	abort(r, "aborted by "+o.By+because(o.Why))
	p := &r.rec.Policy
	p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = noTime, "", "", ""
	holdPolicy(r, journal.HoldRotations, "a rotation was aborted by "+o.By+because(o.Why), "rotator")
	return ""
}

// holdPolicy holds the policy after a human turned a rotation back: the scheduler would begin again at once.
func holdPolicy(r *run, scope journal.Scope, why, by string) {
	r.rec.Hold = journal.Hold{Reason: why, By: by, At: r.now(), Scope: scope}
	r.tell(journal.HoldSet, "reason", why, "by", by, "scope", string(scope))
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// orderRollback begins a rotation to the key that the newest one replaced.
func orderRollback(ctx context.Context, r *run, o *journal.Order) (refused string, err error) {
	rot := r.rec.Rotation
	switch {
	case rot != nil && rot.Trigger == journal.ByRollback:
		return "", nil
	case rot != nil && rot.State.CanAbort():
		return fmt.Sprintf("nothing was promoted yet; `rotator abort %s`", r.claim.Policy), nil
	}
	old, refused := replacedKey(r, o)
	if old == nil {
		return refused, nil
	}
	handles, err := r.handles(r.policy)
	if err != nil {
		return "", err
	}
	ref := old.Ref
	switch _, err := valueOf(ctx, r, old, handles); {
	case reason.Is(err, reason.NoOldValue): // begun, it could go neither back nor forward
		return fmt.Sprintf("%v; `rotator revive %s` turns the old key on again and keeps both", err, r.claim.Policy), nil
	case err != nil:
		return "", err
	}
	if rot != nil {
		supersede(r, journal.RolledBack, "rolled back by "+o.By+because(o.Why))
	}
	old = r.rec.Key(ref)
	old.CompromisedAt, old.CompromisedWhy, old.CompromisedBy, old.RevokedAt = noTime, "", "", noTime // a false alarm; not before: a refused order changes nothing
	p := &r.rec.Policy
	p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = noTime, "", "", ""
	beginTo(r, old, journal.ByRollback, o.Why, o.By)
	r.tell(journal.RollbackBegun, "key_id", old.ID, "by", o.By, "why", o.Why)
	holdPolicy(r, journal.HoldRotations, "a rotation was rolled back by "+o.By+because(o.Why), "rotator")
	return "", nil
}

// replacedKey is the key that consumers read before the newest one: while that is being promoted, the live key; else the
// newest of those that the live key replaced.
func replacedKey(r *run, o *journal.Order) (best *journal.Key, refused string) {
	rot, live := r.rec.Rotation, r.rec.Live()
	refused = "there is no old key to go back to"
	if rot != nil {
		best = live
		if best == nil {
			best = newestOld(r, nil)
		}
	} else if live != nil {
		best = newestOld(r, live)
	}
	for i := range r.rec.Keys {
		if k := &r.rec.Keys[i]; best == nil && k.State == journal.DeletingKey && !k.ExposedAt.IsZero() {
			refused = deletionSent(r, k)
		}
	}
	switch {
	case best == nil:
		return nil, refused
	case best.Compromised() && !o.FalseAlarm:
		return nil, fmt.Sprintf("key %s was reported compromised at %s; --false-alarm takes that back", best.ID, best.CompromisedAt.Format(timeFormat))
	case best.RevokedAt.After(o.At):
		return nil, fmt.Sprintf("key %s was revoked at %s, after this rollback was asked for; ask again if it is to work", best.ID, best.RevokedAt.Format(timeFormat))
	case best.Health == journal.HealthDead:
		return nil, fmt.Sprintf("key %s is refused by xAI", best.ID)
	}
	return best, ""
}

// newestOld is the newest key that by replaced; with nil, the newest that is not being promoted.
func newestOld(r *run, by *journal.Key) (best *journal.Key) {
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		if k.State != journal.RetiringKey && k.State != journal.DisabledKey || k.Fingerprint == "" { // its value could not be told apart from another
			continue
		}
		if by != nil && k.ReplacedBy != "" && k.ReplacedBy != by.Ref {
			continue
		}
		if best == nil || k.ExposedAt.After(best.ExposedAt) || k.ExposedAt.Equal(best.ExposedAt) && k.CreatedAt.After(best.CreatedAt) {
			best = k
		}
	}
	return best
}

// orderRevive turns the old keys on again, and keeps them.
func orderRevive(ctx context.Context, r *run, o *journal.Order) (string, error) {
	var refs []string
	for _, k := range r.rec.Keys {
		if (k.State == journal.RetiringKey || k.State == journal.DisabledKey) && !k.Compromised() {
			refs = append(refs, k.Ref)
		}
	}
	if len(refs) == 0 {
		return unrevivable(r), nil
	}
	for _, ref := range refs {
		k := r.rec.Key(ref)
		if k.State != journal.DisabledKey && !maybeOff(r, k) {
			continue
		}
		switch err := turnOn(ctx, r, k); {
		case reason.Is(err, reason.OldKeyBad):
			return err.Error(), nil
		case err != nil:
			return "", err
		}
	}
	holdPolicy(r, journal.HoldAll, "the old key was revived by "+o.By+because(o.Why), o.By)
	return "", nil
}

// unrevivable says why no old key can be turned on again.
func unrevivable(r *run) string {
	for i := range r.rec.Keys {
		switch k := &r.rec.Keys[i]; {
		case k.State == journal.DeletingKey && !k.ExposedAt.IsZero():
			return deletionSent(r, k)
		case (k.State == journal.RetiringKey || k.State == journal.DisabledKey) && k.Compromised():
			return fmt.Sprintf("key %s was reported compromised at %s: it is not turned on again", k.ID, k.CompromisedAt.Format(timeFormat))
		}
	}
	return "no old key waits to be deleted"
}

// deletionSent says that nothing can go back to a key any more.
func deletionSent(r *run, k *journal.Key) string {
	at := r.now()
	for _, e := range r.rec.Effects {
		if e.Key == k.Ref && e.Kind == journal.EffectDelete && e.At.Before(at) {
			at = e.At
		}
	}
	return fmt.Sprintf("the deletion of key %s was sent at %s, and may take effect at any time; `rotator rotate %s --supersede` makes a new key",
		k.ID, at.Format(timeFormat), r.claim.Policy)
}

// maybeOff reports that a disable of the key was sent and may have landed, or may still.
func maybeOff(r *run, k *journal.Key) bool {
	for _, e := range r.rec.Effects {
		if e.Key == k.Ref && e.Kind == journal.EffectDisable && e.ClosedAt.IsZero() {
			return true
		}
	}
	return false
}

// orderDespite passes over the silence of a target that may hold a key. It never passes over what was seen there.
func orderDespite(r *run, o *journal.Order) string {
	ids := o.KeyIDs.List()
	if len(ids) != 1 || r.rec.KeyByID(ids[0]) == nil {
		return fmt.Sprintf("name one key of %s with --key", r.claim.Policy)
	}
	k := r.rec.KeyByID(ids[0])
	if sighted(r, o.Target, k) {
		return fmt.Sprintf("%s was seen to hold key %s", o.Target, k.ID)
	}
	if !k.Passed(o.Target) {
		k.Despite += o.Target.String() + "\n"
	}
	k.TryAt = noTime
	r.tell(journal.TargetResolved, "target", o.Target.String(), "decision", string(o.Decision), "key_id", k.ID, "by", o.By, "why", o.Why)
	return ""
}
