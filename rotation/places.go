package rotation

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/effect"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/target"
)

// Several policies may write different fields of one secret. Each write replaces the whole document on condition that it is
// still the one that was read, so two that write at once cost each other a version and another try. One policy at a time
// is therefore between the intent of a write and its read-back, over all replicas: the journal gives it the place until it
// is done, or until its claim ends. A turn has one place at most, and nothing waits for one with a claim in hand, so no two
// policies ever wait for each other.
//
// Staging takes no place. It leaves the document alone that promotions compare, and a turn that waited with a new key's only
// copy in memory would lose the key to whichever replica has the next turn.

// The pauses of a policy that finds its place taken.
const (
	leastPlacePause = 500 * time.Millisecond
	mostPlacePause  = 5 * time.Second
)

// placeOf names the place that a target shares with targets of other policies; "" where it shares none.
func placeOf(ctx context.Context, r *run, id journal.TargetID) (string, error) {
	if place, known := r.shared[id]; known {
		return place, nil
	}
	i := slices.IndexFunc(r.rec.Targets, func(t journal.Target) bool { return t.TargetID == id })
	if i < 0 {
		return "", nil
	}
	row := r.rec.Targets[i]
	beside, err := r.engine.ledger.TargetsBeside(ctx, id.Store, id.Path, secretOf(row))
	if err != nil {
		return "", err
	}
	if r.shared == nil {
		r.shared = make(map[journal.TargetID]string)
	}
	r.shared[id] = sharedPlace(beside, row)
	return r.shared[id], nil
}

// sharedPlace is the first path of those that lead to the target's secret, with its store; "" where one policy has them all.
func sharedPlace(all []journal.Target, row journal.Target) string {
	first, shared := row.Path, false
	for _, other := range all {
		if other.Store == row.Store && other.RemovedAt.IsZero() && sameSecret(other, row) {
			first = min(first, other.Path)
			shared = shared || other.Policy != row.Policy
		}
	}
	if !shared {
		return ""
	}
	return row.Store + ":" + first
}

// sameSecret reports whether two targets of one store are fields of one secret, or the same field.
func sameSecret(a, b journal.Target) bool {
	return a.Path == b.Path || a.Place != "" && b.Place != "" && secretOf(a) == secretOf(b)
}

// secretOf is the place of the secret that the target is, or is a field of; "" where it is not known.
func secretOf(t journal.Target) string {
	if i := strings.LastIndexByte(t.Place, '#'); i >= 0 {
		return t.Place[:i]
	}
	return t.Place
}

// takePlace takes the place of a target where others write too, and gives the one in hand back before. false: another
// policy has it.
func takePlace(ctx context.Context, r *run, id journal.TargetID) (bool, error) {
	place, err := placeOf(ctx, r, id)
	if err != nil || place == r.place || place == "" {
		return err == nil, err
	}
	freePlace(ctx, r)
	taken, err := r.engine.ledger.TakePlace(ctx, r.now(), r.claim, place)
	if taken {
		r.place = place
	}
	return taken, err
}

// freePlace gives the place in hand back. Where that fails it ends with the claim.
func freePlace(ctx context.Context, r *run) {
	if r.place == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := r.engine.ledger.FreePlace(ctx, r.claim, r.place); err != nil {
		r.log.Warn("place not freed; it ends with the claim", "place", r.place, "err", err)
	}
	r.place = ""
}

// placePause is until when a policy waits whose place is taken: the longer, the longer it waits already, and each a little
// differently, so that those who wait for one place do not come all at once.
func placePause(r *run) time.Time {
	pause := min(max(r.now().Sub(waitingSince(r)).Abs()/8, leastPlacePause), mostPlacePause)
	h := fnv.New32a()
	fmt.Fprint(h, r.claim.Policy, r.now().UnixNano())
	return r.now().Add(pause/2 + time.Duration(h.Sum32()%1000)*pause/1000)
}

// firstPlace takes the place of the first target that lacks the key, where all that lack it are shared: the key is proved once
// it can be written, and not again and again while others write. The zero time: go on.
func firstPlace(ctx context.Context, r *run, k *journal.Key, handles []target.Handle) (wait time.Time, err error) {
	var lacking []journal.TargetID
	for _, h := range handles {
		if r.reader.Row(h.ID).Fingerprint == k.Fingerprint {
			continue
		}
		place, err := placeOf(ctx, r, h.ID)
		if err != nil || place == "" {
			return noTime, err
		}
		lacking = append(lacking, h.ID)
	}
	for _, id := range lacking {
		if taken, err := takePlace(ctx, r, id); taken || err != nil {
			return noTime, err
		}
	}
	if len(lacking) == 0 {
		return noTime, nil
	}
	return placePause(r), nil
}

// promotion gives a key to targets.
type promotion struct {
	run   *run
	ref   string
	value secret.Text
	late  Outcome // the earliest of what is waited for
	errs  []error
}

// wait notes that a target is written later.
func (p *promotion) wait(at time.Time, why journal.Reason) {
	if p.late.Wait.IsZero() || at.Before(p.late.Wait) {
		p.late = waits(at, why)
	}
}

// shared writes targets that others write too, each with its place in hand. The one whose place is in hand comes first.
func (p *promotion) shared(ctx context.Context, handles []target.Handle) error {
	r := p.run
	slices.SortStableFunc(handles, func(a, b target.Handle) int {
		return boolCompare(r.shared[a.ID] != r.place, r.shared[b.ID] != r.place)
	})
	for _, h := range handles {
		switch taken, err := takePlace(ctx, r, h.ID); {
		case gone(ctx, err):
			return err
		case err != nil:
			p.errs = append(p.errs, err)
			continue
		case !taken:
			p.wait(placePause(r), reason.WaitPlace)
			continue
		}
		err := p.at(ctx, h)
		freePlace(ctx, r)
		if err != nil {
			return err
		}
	}
	return nil
}

// writes reports whether something may have to be written at a target: the key, or a fence.
func (p *promotion) writes(h target.Handle) bool {
	r := p.run
	k := r.rec.Key(p.ref)
	return r.reader.Row(h.ID).Fingerprint != k.Fingerprint || slices.ContainsFunc(r.rec.Effects, func(e journal.Effect) bool {
		return e.Kind == journal.EffectPromote && e.Target == h.ID && e.Key != p.ref && effect.Pending(e, r.clock())
	})
}

// at writes the targets that do not hold the key yet. The intents are written in one commit. A target that fails does not
// stop the others. An error ends the turn's promotion.
func (p *promotion) at(ctx context.Context, handles ...target.Handle) error {
	r := p.run
	var todo []target.Handle
	var effects []*journal.Effect
	for _, h := range handles {
		need, wait, err := prepare(ctx, r, r.rec.Key(p.ref), h)
		switch {
		case gone(ctx, err):
			return err
		case err != nil:
			p.errs = append(p.errs, err)
		case !wait.IsZero():
			p.wait(wait, reason.WaitQuarantine)
		case need:
			if err := keepFormer(ctx, r, h); gone(ctx, err) || r.unsure != nil {
				return err
			} else if err != nil {
				p.errs = append(p.errs, err)
				continue
			}
			todo = append(todo, h)
			effects = append(effects, &journal.Effect{Key: p.ref, Kind: journal.EffectPromote, Target: h.ID, Expected: r.reader.Row(h.ID).Fingerprint})
		}
	}
	if len(effects) > 0 {
		if err := r.runner.Intend(ctx, effects...); err != nil {
			return err
		}
	}
	for i, h := range todo {
		err := write(ctx, r, p.ref, p.value, h, effects[i])
		if gone(ctx, err) {
			return err
		}
		if err != nil {
			p.errs = append(p.errs, err)
			continue
		}
		if r.reader.Row(h.ID).Place == "" { // nothing was there when it was met
			if place, err := h.Place(ctx); err == nil {
				r.reader.Row(h.ID).Place = place
			}
		}
	}
	return nil
}
