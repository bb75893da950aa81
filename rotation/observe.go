package rotation

import (
	"context"
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/inventory"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
	"rotator/xai"
)

// observe reads every target that the policy ever named, and asks each key that consumers read who it is. What it finds
// is in the record and is reported; it never changes anything outside. Its failures are shown and tried again.
func observe(ctx context.Context, r *run) Outcome {
	p := &r.rec.Policy
	if r.postponed(p.WatchAt) && !targetsChanged(r) {
		return standingTarget(ctx, r)
	}
	p.WatchAt = r.now().Add(r.engine.limits.Watch)
	markRemoved(r)
	var all Outcome
	trouble := func(err error) {
		p.WatchAt = minTime(p.WatchAt, r.now().Add(max(time.Minute, retryAfter(err))))
		r.log.Warn("target or key could not be read; will retry", "err", err)
		all = foremostOf(all, Outcome{Err: err, Wait: p.WatchAt})
	}
	if p.RemovedAt.IsZero() && !p.Leaving() {
		if err := contact(ctx, r, r.policy); gone(ctx, err) {
			return failed(err)
		} else if reason.Is(err, reason.Narrowing) { // all could be read
			p.WatchAt = minTime(p.WatchAt, r.now().Add(narrowingPace))
			all = foremostOf(all, Outcome{Err: err, Wait: p.WatchAt})
		} else if err != nil {
			trouble(err)
		}
	}
	read := make(map[string]secret.Text) // key id → its value, as a target holds it
	for _, row := range slices.Clone(r.rec.Targets) {
		if row.ContactAt.IsZero() {
			continue
		}
		v, err := inspect(ctx, r, row.TargetID)
		if gone(ctx, err) {
			return failed(err)
		}
		if err != nil && row.Decision != journal.Drop {
			trouble(err)
		}
		if now := r.reader.Row(row.TargetID); err == nil && now.KeyID != "" {
			read[now.KeyID] = v
		}
	}
	if err := examineAll(ctx, r, read); gone(ctx, err) {
		return failed(err)
	} else if err != nil {
		trouble(err)
	}
	tellAge(r)
	if err := reconcile(ctx, r); gone(ctx, err) {
		return failed(err)
	} else if err != nil {
		all = foremostOf(all, Outcome{Err: err, Wait: p.WatchAt})
	}
	all = foremostOf(all, strayed(r))
	all.Wait = p.WatchAt
	return all
}

// strayed shows a target of a live key that holds something else, while no rotation is under way that says so itself: during
// the overlap too, when people can still go back.
func strayed(r *run) Outcome {
	if r.rec.Rotation != nil || r.rec.Live() == nil || !r.rec.Policy.RemovedAt.IsZero() || r.rec.Policy.Leaving() {
		return nothing
	}
	for _, pt := range r.policy.Targets {
		row := *r.reader.Row(target.IDOf(pt))
		if target.Excluded(row) {
			continue
		}
		switch row.Status {
		case journal.TargetDrift, journal.TargetMissing, journal.TargetOtherPolicy, journal.TargetOtherRotator:
			if err := verdictOf(r, row).Err(row); err != nil {
				return stands(r.rec.Policy.WatchAt, reason.Of(err), err.Error())
			}
		}
	}
	return nothing
}

// narrowingPace is the pause between two looks at a key whose rights are more than the policy's: people may change either.
const narrowingPace = 5 * time.Minute

// standingTarget shows on why a target could not be read, until it is read again.
func standingTarget(ctx context.Context, r *run) Outcome {
	p := r.rec.Policy
	for _, row := range r.rec.Targets {
		if row.Error != "" && row.Decision != journal.Drop && row.Error == p.Error {
			return stands(p.WatchAt, p.Reason, p.Error)
		}
	}
	if p.Reason == reason.Narrowing && r.rec.Live() == nil && !r.policy.AllowNarrowing {
		return stands(p.WatchAt, p.Reason, p.Error)
	}
	if err := reconciling(ctx, r); err != nil {
		return Outcome{Wait: p.WatchAt, Reason: reason.Of(err), Standing: err.Error()}
	}
	return foremostOf(Outcome{Wait: p.WatchAt}, strayed(r))
}

// namedTargets are the targets that the policy's files name now.
func namedTargets(r *run) map[journal.TargetID]bool {
	named := make(map[journal.TargetID]bool)
	if r.rec.Policy.RemovedAt.IsZero() {
		for _, pt := range r.policy.Targets {
			named[target.IDOf(pt)] = true
		}
	}
	return named
}

// targetsChanged reports whether the policy names a target that was never looked at, or no longer names one that it did.
func targetsChanged(r *run) bool {
	named := namedTargets(r)
	for _, row := range r.rec.Targets {
		tried := !row.SeenAt.IsZero() || row.Status == journal.TargetUnreadable || row.Error != ""
		if tried && named[row.TargetID] == row.RemovedAt.IsZero() || row.Status == journal.TargetUnreadable || row.Decision == journal.Drop ||
			!tried && !named[row.TargetID] {
			delete(named, row.TargetID) // known, or tried lately: the watch comes back to it
			continue
		}
		return true
	}
	return len(named) > 0
}

// markRemoved notes which targets the policy no longer names. They are read, and count for the gate, until they read
// otherwise or a human forgets them. A decision ends with its target's name in the policy.
func markRemoved(r *run) {
	named := namedTargets(r)
	for i := range r.rec.Targets {
		row := &r.rec.Targets[i]
		if !named[row.TargetID] && row.RemovedAt.IsZero() {
			row.RemovedAt = r.now()
			row.Decision, row.DecidedFor = journal.Undecided, ""
		}
	}
}

// inspect reads one target and says what changed.
func inspect(ctx context.Context, r *run, id journal.TargetID) (secret.Text, error) {
	h, err := r.reader.HandleOf(id)
	if err != nil {
		return secret.Text{}, err
	}
	before := *r.reader.Row(id)
	v, err := r.reader.Read(ctx, h)
	if err != nil {
		return v, err
	}
	row := r.reader.Row(id)
	if rot := r.rec.Rotation; rot != nil && (row.Fingerprint != before.Fingerprint || before.Error != "") {
		rot.TryAt = noTime // what it waits for may be there now
	}
	if !row.RemovedAt.IsZero() || r.rec.Policy.Leaving() && r.rec.KeyByID(row.KeyID) == nil { // what is no longer ours to write may hold anything
		row.Status = journal.TargetOK
		if row.Fingerprint == "" {
			row.Status = journal.TargetEmpty
		}
		return v, nil
	}
	if row.Status == journal.TargetUnreadable { // as it was before it could not be read
		row.Status = journal.TargetNew
	}
	verdict, err := assess(ctx, r, id)
	if err != nil {
		return v, err
	}
	row = r.reader.Row(id)
	row.Status = verdict.Status
	switch verdict.Status {
	case journal.TargetDrift, journal.TargetMissing, journal.TargetOtherPolicy, journal.TargetOtherRotator, journal.TargetSamePlace:
		if before.Status != row.Status || before.Fingerprint != row.Fingerprint {
			r.tell(journal.Drifted, "target", id.String(), "key_id", row.KeyID, "status", string(row.Status))
		}
	}
	return v, nil
}

// assess gathers the facts about a target that was read, and judges it.
func assess(ctx context.Context, r *run, id journal.TargetID) (target.Verdict, error) {
	row := *r.reader.Row(id)
	f := target.Facts{Policy: r.claim.Policy, Ours: r.rec.Keys, Live: r.rec.Live(), Effects: r.rec.Effects}
	if rot := r.rec.Rotation; rot != nil && !rot.PromotingAt.IsZero() {
		f.Promoting = r.rec.Key(rot.KeyRef)
	}
	var err error
	if row.KeyID != "" && r.rec.KeyByID(row.KeyID) == nil {
		if f.Owner, f.Stranger, err = ownerOf(ctx, r, row); err != nil {
			return target.Verdict{}, err
		}
	}
	if f.SamePlace, err = samePlace(ctx, r, row); err != nil {
		return target.Verdict{}, err
	}
	return target.Assess(row, r.rec.Sightings, f), nil
}

// ownerOf says which other policy the key in a target belongs to, or that another rotator made it.
func ownerOf(ctx context.Context, r *run, row journal.Target) (policy string, stranger bool, err error) {
	known, err := r.engine.ledger.Keys(ctx, []string{row.KeyID})
	if err != nil {
		return "", false, err
	}
	if len(known) > 0 { // an id is one key's
		k := known[0]
		if k.Policy != r.claim.Policy && !k.State.Gone() {
			return k.Policy, false, nil
		}
		return "", letGo(k), nil
	}
	name, asked := r.names[row.KeyID]
	if !asked && row.Status == journal.TargetNew && !row.ContactAt.IsZero() { // it could not be read for a while
		list, err := r.list(ctx, r.policy.Team)
		if err != nil {
			return "", false, err
		}
		for _, have := range list.Keys {
			r.names[have.ID] = have.Name
		}
		name, asked = r.names[row.KeyID]
	}
	if !asked {
		return "", row.Status == journal.TargetOtherRotator, nil // it holds what it held
	}
	return "", othersName(r, name), nil
}

// letGo reports whether a rotator's key was let go: the journal was copied and the original has it, or a human gave it up.
func letGo(k journal.Key) bool {
	return k.State == journal.ForgottenKey && strings.HasPrefix(k.Name, inventory.Prefix)
}

// othersName reports whether a key's name says that another Rotator manages it, or a policy that is not this one. A name
// that is cut short says so too.
func othersName(r *run, name string) bool {
	of, _, ok := keyName(name)
	return strings.HasPrefix(name, inventory.Prefix) && !(ok && (of == r.claim.Policy || of == r.policy.RenamedFrom))
}

// examineAll asks each key that consumers read, or that is about to be read, who it is.
func examineAll(ctx context.Context, r *run, read map[string]secret.Text) error {
	var first error
	for i := range r.rec.Keys {
		k := &r.rec.Keys[i]
		v, held := read[k.ID]
		if !held && (k.State == journal.PromotingKey || k.State == journal.LiveKey) {
			v, held = r.engine.hand.get(k.Ref)
		}
		if !held || !target.Is(v, k.Fingerprint) || k.State == journal.DisabledKey && (!holdsAnywhere(r, k) || r.rec.Policy.Leaving()) {
			continue
		}
		if err := examine(ctx, r, v, k); gone(ctx, err) {
			return err
		} else if err != nil && first == nil {
			first = err
		}
	}
	return first
}

func holdsAnywhere(r *run, k *journal.Key) bool {
	return slices.ContainsFunc(r.rec.Targets, func(t journal.Target) bool { return t.KeyID == k.ID && t.RemovedAt.IsZero() })
}

// examine lets a key say who it is, and keeps count of bad answers.
func examine(ctx context.Context, r *run, v secret.Text, k *journal.Key) error {
	health, err := healthOf(ctx, r, v.Trimmed(), k)
	if err != nil {
		return err
	}
	if health == journal.HealthSuspect {
		if answeredBad(r, k) || k.Health == journal.HealthDead {
			markDead(r, k)
			return nil
		}
		r.rec.Policy.WatchAt = minTime(r.rec.Policy.WatchAt, r.now().Add(proofPace))
	} else {
		k.BadAnswers, k.BadSince = 0, noTime
	}
	markHealth(r, k, health)
	return nil
}

// markDead records that a key that consumers may read is proved bad.
func markDead(r *run, k *journal.Key) { markHealth(r, k, journal.HealthDead) }

func markHealth(r *run, k *journal.Key, health journal.Health) {
	was := k.Health
	if was == health {
		return
	}
	k.Health, k.HealthAt = health, r.now()
	switch {
	case health == journal.HealthOK && was != journal.HealthUnknown && was != journal.HealthSuspect:
		r.tell(journal.KeyHealthy, "key_id", k.ID)
	case health != journal.HealthOK && health != journal.HealthSuspect:
		r.tell(journal.KeyUnhealthy, "key_id", k.ID, "health", string(health))
	}
}

func healthOf(ctx context.Context, r *run, v secret.Text, k *journal.Key) (journal.Health, error) {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return "", err
	}
	who, err := team.Probe.WhoAmI(ctx, v)
	if notOffered(err) {
		chat := chatOf(r, k)
		if chat.Model == "" {
			return journal.HealthUnknown, nil
		}
		who = xai.Identity{KeyID: k.ID} // its value is the key's
		if err = team.Probe.Chat(ctx, v, chat.Model); authorized(err) {
			return journal.HealthOK, nil // and not proved
		}
	}
	switch {
	case xai.ProvesBad(err):
		return journal.HealthSuspect, nil
	case err != nil:
		return "", err
	case who.KeyID != k.ID:
		return "", reason.Errorf(reason.WrongIdentity, "xAI says that the value in use is key %s, and the journal says %s", who.KeyID, k.ID)
	case who.KeyDisabled:
		return journal.HealthSuspect, nil
	case who.KeyBlocked, who.TeamBlocked:
		return journal.HealthBlocked, nil
	case !k.ExpiresAt.IsZero() && k.ExpiresAt.Sub(r.now()) < r.policy.Retire.Overlap.Std()+policies.Margin:
		markProved(r, k)
		return journal.HealthExpiring, nil
	}
	markProved(r, k)
	return journal.HealthOK, nil
}

// tellAge reports once a day that a key is older than its policy promises.
func tellAge(r *run) {
	p := &r.rec.Policy
	limit := r.policy.MaxAge.Std()
	r.rec.Summarize()
	oldest := p.OldestKey
	if limit == 0 || oldest.IsZero() || r.now().Sub(oldest) <= limit {
		p.AgeAlertAt = noTime
		return
	}
	if p.AgeAlertAt.IsZero() || r.now().Sub(p.AgeAlertAt) >= 24*time.Hour {
		p.AgeAlertAt = r.now()
		r.tell(journal.AgeOverLimit, "age", r.now().Sub(oldest).Round(time.Second).String(), "max_age", limit.String())
	}
}
