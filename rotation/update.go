package rotation

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"rotator/rotation/due"
	"rotator/rotation/effect"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// update has the keys that consumers read, or are about to, follow their policy: rights, limits and expiry as its file says, and the
// name that was recorded. What is to be changed package grant says; here it is sent, one part at a time, and reported.
//
// An update without an answer may land late. It is repeated with what is wanted now, the key is looked at every minute, and once more
// when nothing can land: only then is it told as done, so that no late one undoes what people were notified of.
func update(ctx context.Context, r *run) (all Outcome) {
	if !r.rec.Policy.RemovedAt.IsZero() && !r.rec.Policy.Leaving() {
		return nothing
	}
	for i := 0; i < len(r.rec.Keys); i++ {
		k := &r.rec.Keys[i]
		if !followsPolicy(k) || unwritten(r, k) {
			continue
		}
		out := updateKey(ctx, r, k)
		if gone(ctx, out.Err) || r.unsure != nil {
			return out
		}
		all = foremostOf(all, out)
	}
	return all
}

// updateKey compares a key with its policy by what xAI showed last, and where they differ by what it shows now.
func updateKey(ctx context.Context, r *run, k *journal.Key) Outcome {
	if k.UpdateFor != "" && k.UpdateFor != wordFor(r, k) { // people or xAI said something new
		k.UpdateFor, k.Refused = "", ""
		k.UpdateAt, k.UpdateTries = noTime, 0
	}
	if r.postponed(k.UpdateAt) {
		return standingUpdate(k)
	}
	late := lateUpdates(r, k)
	as := comparedAs(r, k)
	if len(late) == 0 && r.engine.idle.knows(k.Ref, as) {
		clearUpdate(k)
		return nothing
	}
	have, known := grant.Read(k.Listed)
	v := grant.Compare(r.policy, k, factsFor(r, k, have, late))
	if known && v.Idle() && len(late) == 0 {
		restUpdate(r, k, have)
		if have.Expires.IsZero() && r.policy.Key.ExpiresAfter == 0 { // time alone changes nothing
			r.engine.idle.keep(k.Ref, comparedAs(r, k))
		}
		return nothing
	}
	if !known && len(late) == 0 && !editedSince(r, k) {
		return nothing // the team's next list shows it
	}
	if held(r, v) && len(late) == 0 {
		return waits(r.rec.Hold.Until, reason.Held)
	}
	if r.engine.observing() != nil {
		return wouldUpdate(r, k, v)
	}
	if reconciling(ctx, r) != nil {
		return nothing // which the watch says
	}
	list, err := r.list(ctx, k.Team)
	if err != nil {
		return failUpdate(r, r.rec.Key(k.Ref), err)
	}
	k = r.rec.Key(k.Ref)
	i := slices.IndexFunc(list.Keys, func(have xai.Key) bool { return have.ID == k.ID })
	shown, _ := grant.Read(k.Shown)
	switch {
	case i < 0: // it is gone, which its value shows
		k.UpdateAt, k.UpdateFor = r.now().Add(r.engine.limits.Watch), wordFor(r, k)
		return waits(k.UpdateAt, "")
	case lags(r, list.Keys[i], shown):
		k.UpdateAt, k.UpdateFor = r.now().Add(settlePace), wordFor(r, k)
		return waits(k.UpdateAt, "")
	}
	have = showsNow(k, list.Keys[i])
	return follow(ctx, r, k, have)
}

// follow sends what is to be changed of a key that was just listed, and records what needs no change any more.
func follow(ctx context.Context, r *run, k *journal.Key, have grant.Grant) Outcome {
	late := lateUpdates(r, k)
	v := grant.Compare(r.policy, k, factsFor(r, k, have, late))
	changes := slices.DeleteFunc(slices.Clone(v.Changes), func(c grant.Change) bool { return !c.Needed && r.rec.Hold.Stops(r.now()) })
	look, landing := landsUntil(r, late)
	settled := func() { // what xAI shows can change no more but by what is sent now
		for _, e := range late {
			if !landing && len(changes) == len(v.Changes) {
				r.runner.Settle(e.ID)
			}
		}
	}
	if len(changes) > 0 {
		tellDrift(r, k, v)
		return sendAll(ctx, r, k, changes, settled)
	}
	if landing {
		return looksAt(r, k, look)
	}
	if len(v.Changes) > 0 { // whose cause the rows of late updates still show
		return waits(r.rec.Hold.Until, reason.Held)
	}
	settled()
	accept(r, k, v, have, v.Edited...)
	if len(v.Drift) > 0 {
		told := k.Drift
		restUpdate(r, k, have)
		k.Drift = told
		tellDrift(r, k, v)
		k.UpdateFor, k.UpdateAt = wordFor(r, k), r.now().Add(r.engine.limits.Watch)
		return standingUpdate(k)
	}
	restUpdate(r, k, have)
	return moved
}

// sendAll sends changes one after the other, first of all one that consumers need. One that is refused keeps no other. settled is
// called before the first is sent, once no hold keeps it.
func sendAll(ctx context.Context, r *run, k *journal.Key, changes []grant.Change, settled func()) Outcome {
	ref := k.Ref
	slices.SortStableFunc(changes, func(a, b grant.Change) int {
		switch {
		case a.Needed == b.Needed:
			return 0
		case a.Needed:
			return -1
		}
		return 1
	})
	for i, c := range changes {
		if err := unheldFor(ctx, r, r.rec.Key(ref), c); reason.Is(err, reason.Held) {
			return waits(r.rec.Hold.Until, reason.Held)
		} else if err != nil {
			return failUpdate(r, r.rec.Key(ref), err)
		}
		if i == 0 {
			settled()
		}
		got, err := sendUpdate(ctx, r, r.rec.Key(ref), c)
		k = r.rec.Key(ref)
		switch class := xai.ClassOf(err); {
		case gone(ctx, err) || r.unsure != nil:
			return failed(err)
		case errors.Is(err, effect.ErrWithdrawn):
			return moved
		case class == xai.ClassInvalid, class == xai.ClassForbidden, class == xai.ClassACL, class == xai.ClassRoute:
			refuseUpdate(r, k, c, err.Error())
			continue
		case err != nil:
			return failUpdate(r, k, err)
		}
		was, _ := grant.Read(k.Listed)
		have := showsNow(k, got)
		if no := leftAsWas(c, was, have); no != "" {
			if c.Part == grant.Limits && len(lateUpdates(r, k)) == 0 { // it may have taken some of them
				grant.AcceptSome(k, grant.Compare(r.policy, k, factsFor(r, k, have, nil)), have)
			}
			refuseUpdate(r, k, c, "xAI keeps "+no)
			continue
		}
		if late := lateUpdates(r, k); len(late) > 0 {
			continue // it may be undone: it is reported once it cannot
		}
		v := grant.Compare(r.policy, k, factsFor(r, k, have, nil))
		k.Refused = strings.Join(slices.DeleteFunc(strings.Fields(k.Refused), func(p string) bool { return p == string(c.Part) }), " ")
		accept(r, k, v, have, c.Part)
	}
	r.runner.Tidy(func(e journal.Effect) bool { return isOwed(r, e) })
	if k.Refused != "" {
		k.UpdateFor, k.UpdateAt = wordFor(r, k), r.now().Add(refusedPace)
		return standingUpdate(k)
	}
	if look, landing := landsUntil(r, lateUpdates(r, k)); landing { // a list may lag: what was sent just now is not sent again by it
		return looksAt(r, k, look)
	}
	return moved
}

// looksAt has a key wait for its next look, while an update may land late.
func looksAt(r *run, k *journal.Key, at time.Time) Outcome {
	k.UpdateFor, k.UpdateAt = wordFor(r, k), at
	return waits(at, reason.WaitQuarantine)
}

// listLag is how long lists may lag behind a change of a key.
const listLag = 2 * time.Minute

// lags reports whether a list may show a key as it was before the change that was seen last. Lists that round the time of a change, or
// leave it out, are believed after a while.
func lags(r *run, have xai.Key, shown grant.Grant) bool {
	now := r.clock()
	if now.XAI.IsZero() {
		now.XAI = now.Journal
	}
	return have.Modified.Before(shown.Modified.Truncate(time.Microsecond)) && now.XAI.Sub(shown.Modified) < listLag
}

// refusedPace is the pause before an update is tried again that xAI refused: people may give the management key the right.
const refusedPace = time.Hour

// sendUpdate changes one part of a key.
func sendUpdate(ctx context.Context, r *run, k *journal.Key, c grant.Change) (got xai.Key, err error) {
	team, err := r.team(ctx, k.Team)
	if err != nil {
		return got, err
	}
	id, u := k.ID, updateOf(c)
	err = r.runner.Do(ctx, journal.Effect{Key: k.Ref, Kind: journal.EffectUpdate}, func(ctx context.Context) (err error) {
		got, err = team.Keys.UpdateKey(ctx, team.ID, id, u)
		return err
	})
	return got, err
}

// updateOf is what xAI is asked for.
func updateOf(c grant.Change) (u xai.KeyUpdate) {
	to := c.To
	switch c.Part {
	case grant.Rights:
		u.ACLs = to.ACLs
	case grant.Limits:
		for _, name := range c.Limits {
			switch name {
			case "qps":
				u.QPS, u.NoQPS = to.QPS, to.QPS == nil
			case "qpm":
				u.QPM, u.NoQPM = to.QPM, to.QPM == nil
			case "tpm":
				u.TPM, u.NoTPM = to.TPM, to.TPM == nil
			}
		}
	case grant.Name:
		u.Name = &to.Name
	case grant.Expiry:
		u.Expires = &to.Expires
	}
	return u
}

// leftAsWas says what xAI left as it was though it said yes; "" when nothing.
func leftAsWas(c grant.Change, was, have grant.Grant) string {
	to := c.To
	switch c.Part {
	case grant.Rights:
		if !slices.Equal(have.Sorted(), to.Sorted()) {
			return "rights " + strings.Join(have.ACLs, ", ")
		}
	case grant.Limits:
		return grant.KeptLimits(to, was, have, c.Limits)
	case grant.Name:
		if have.Name != to.Name {
			return fmt.Sprintf("name %q", have.Name)
		}
	case grant.Expiry:
		if have.Expires.Sub(to.Expires).Abs() > time.Second {
			return "expiry " + have.Expires.UTC().Format(timeFormat)
		}
	}
	return ""
}

// lateUpdates are updates of a key whose outcome is not known.
func lateUpdates(r *run, k *journal.Key) (late []journal.Effect) {
	for _, e := range r.rec.Effects {
		if e.Key == k.Ref && e.Kind == journal.EffectUpdate && e.State == journal.EffectUnknown && e.ClosedAt.IsZero() {
			late = append(late, e)
		}
	}
	return late
}

// landsUntil is when a key is looked at again of which some updates may still land, or have landed since the list was made that is
// shown: each minute, and when neither can be any more. false: neither can. Where xAI does not report the time, that is never known.
func landsUntil(r *run, late []journal.Effect) (look time.Time, landing bool) {
	var quiet time.Time
	for _, e := range late {
		if e.QuietAt = e.QuietAt.Add(listLag); effect.Pending(e, r.clock()) {
			quiet, landing = later(quiet, e.QuietAt), true
		}
	}
	if quiet.After(r.now()) {
		return minTime(quiet, r.now().Add(settlePace)), landing
	}
	return r.now().Add(min(max(settlePace, r.now().Sub(quiet)/4), r.engine.limits.Watch)), landing
}

// owesLook reports that an update without an answer may have changed a key, so that it is looked at once more.
func owesLook(r *run, e journal.Effect) bool {
	k, p := r.rec.Key(e.Key), &r.rec.Policy
	return e.State == journal.EffectUnknown && k != nil && p.RemovedAt.IsZero() && !p.Leaving() && followsPolicy(k)
}

// followsPolicy reports whether a key follows its policy.
func followsPolicy(k *journal.Key) bool {
	return grant.Follows(k) && k.Health != journal.HealthDead
}

// wordFor distinguishes what people and xAI say of a key: what was refused of one is tried again with another.
func wordFor(r *run, k *journal.Key) string {
	h := fnv.New64a()
	fmt.Fprintln(h, grant.Ask(r.policy.Key), r.policy.Key.Enforce, r.policy.AllowNarrowing, k.Listed)
	return fmt.Sprintf("%x", h.Sum64())
}

func factsFor(r *run, k *journal.Key, have grant.Grant, late []journal.Effect) grant.Facts {
	_, frozen := due.Frozen(r.env.Freezes(), r.policy, due.Schedule, r.now())
	return grant.Facts{Have: have, Ours: len(late) > 0, Frozen: frozen, Now: r.now(), ExpiryAlone: grant.ExpiryAlone(k, r.policy, &r.rec.Policy)}
}

// editedSince reports whether the policy asks for something else than was asked for the key.
func editedSince(r *run, k *journal.Key) bool {
	want := r.policy.Key
	return grant.Ask(want) != grant.Ask(grant.AskedOf(k, r.policy))
}

// held reports whether a hold of everything keeps all that is to be done. An expiry that comes soon is moved on anyway: it
// keeps consumers going.
func held(r *run, v grant.Verdict) bool {
	return r.rec.Hold.Stops(r.now()) && len(v.Changes) > 0 && !slices.ContainsFunc(v.Changes, func(c grant.Change) bool { return c.Needed })
}

// unheldFor reads the hold again, since people set one without a claim.
func unheldFor(ctx context.Context, r *run, k *journal.Key, c grant.Change) error {
	if c.Needed {
		return nil
	}
	return unheld(ctx, r, k)
}

// wouldUpdate is what would be changed in observe mode, and what someone changed.
func wouldUpdate(r *run, k *journal.Key, v grant.Verdict) Outcome {
	tellDrift(r, k, v)
	if len(v.Changes) == 0 {
		return standingUpdate(k)
	}
	texts := make([]string, len(v.Changes))
	for i, c := range v.Changes {
		texts[i] = c.Detail
	}
	return would("update key " + k.ID + ": " + strings.Join(texts, "; "))
}
