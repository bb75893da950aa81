package journaltest

import (
	"fmt"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// rest commits a policy so that it waits for its watch alone, which comes at at.
func (k *kit) rest(c journal.Claim, at time.Time) {
	k.Helper()
	rec := k.load(c.Policy)
	rec.Policy.NextRunAt, rec.Policy.WatchAt = at, at
	k.ok(k.j.Commit(k.Context(), c, rec, true))
}

// claimResting takes all that are at rest and due, by name.
func (k *kit) claimResting() []journal.Claim {
	k.Helper()
	claims, err := k.j.ClaimResting(k.Context(), owner, now(), 1000)
	k.ok(err)
	slices.SortFunc(claims, func(a, b journal.Claim) int { return a.Now.Compare(b.Now) })
	return claims
}

// restAll makes n policies and claims them when they are at rest; it returns claims and records by name.
func (k *kit) restAll(n int) (claims []journal.Claim, recs []*journal.Record) {
	k.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("policy-%04d", i))
	}
	k.policies(names...)
	all, err := k.j.Claim(k.Context(), owner, now(), n)
	k.ok(err)
	for _, c := range all {
		rec := k.load(c.Policy)
		rec.Targets, rec.Keys = []journal.Target{target(c.Policy, c.Policy)}, []journal.Key{k.key(c.Policy, journal.LiveKey)}
		rec.Policy.NextRunAt = now().Add(-time.Second)
		rec.Policy.WatchAt = rec.Policy.NextRunAt
		k.ok(k.j.Commit(k.Context(), c, rec, true))
	}
	claims = k.claimResting()
	k.equal("claims", len(claims), n)
	slices.SortFunc(claims, func(a, b journal.Claim) int {
		return slices.Index(names, a.Policy) - slices.Index(names, b.Policy)
	})
	recs, err = k.j.LoadAll(k.Context(), names)
	k.ok(err)
	return claims, recs
}

var rests = []promise{
	{"who is at rest is claimed apart", func(k *kit) {
		k.policies("a", "b", "c")
		all, err := k.j.Claim(k.Context(), owner, now(), 3)
		k.ok(err)
		at := now().Add(-time.Minute)
		for _, c := range all {
			switch c.Policy {
			case "a":
				k.rest(c, at)
			case "b": // a rotation is in flight, which waits for its watch
				rec, r := k.load("b"), k.rotation("b", journal.Planned)
				rec.Rotation, rec.Policy.NextRunAt, rec.Policy.WatchAt = &r, at, at
				k.ok(k.j.Commit(k.Context(), c, rec, true))
			case "c":
				k.rest(c, now().Add(time.Hour))
			}
		}
		k.next(at, at)
		moving := k.claim("b")
		resting := k.claimResting()
		if len(resting) != 1 || resting[0].Policy != "a" {
			k.Fatalf("at rest: %v, want a alone", resting)
		}
		k.unclaimable()
		k.equal("at rest once more", len(k.claimResting()), 0)
		k.ok(k.j.Release(k.Context(), moving, now().Add(time.Hour)))
		// Put off without a look it is not at rest: its watch came, and was not done.
		k.ok(k.j.Release(k.Context(), resting[0], now()))
		k.claim("a")
	}},
	{"who is woken rests no more", func(k *kit) {
		for _, at := range []time.Duration{-time.Minute, time.Hour} {
			name := k.id("policy")
			k.policies(name)
			k.rest(k.claim(name), now().Add(at))
			_, err := k.j.Place(k.Context(), journal.Order{Policy: name, Kind: journal.OrderRotate, At: now()})
			k.ok(err)
			k.equal("at rest", len(k.claimResting()), 0)
			k.claim(name)
		}
	}},
	{"a claim may be for some alone", func(k *kit) {
		k.policies("a", "b", "c", "d")
		got, err := k.j.Claim(k.Context(), owner, now(), 10, "c", "a", "x")
		k.ok(err)
		var names []string
		for _, c := range got {
			names = append(names, c.Policy)
			k.rest(c, now().Add(-time.Second))
		}
		slices.Sort(names)
		k.equal("claimed", names, []string{"a", "c"})
		got, err = k.j.ClaimResting(k.Context(), owner, now(), 10, "c")
		k.ok(err)
		k.equal("claimed of those at rest", len(got), 1)
		k.equal("at rest", got[0].Policy, "c")
	}},
	{"many are loaded as one is", func(k *kit) {
		c, rec := k.start("full")
		r := k.rotation("full", journal.Staged)
		rec.Rotation, rec.Retired = &r, []journal.Rotation{k.rotation("full", journal.Live)}
		rec.Keys = []journal.Key{k.key("full", journal.LiveKey), k.key("full", journal.DisabledKey)}
		rec.Targets = []journal.Target{target("full", "two"), target("full", "one")}
		rec.Effects = []journal.Effect{k.effect("full", rec.Keys[0].Ref, journal.EffectStage), k.effect("full", rec.Keys[1].Ref, journal.EffectEnable)}
		rec.Sightings = []journal.Sighting{sighting(rec.Targets[1], "p2"), sighting(rec.Targets[1], "p1")}
		const text = "a \"word\", \\ <b> & [1, null] \n\t\x01 \u2028 schlüssel 🗝"
		rec.Targets[0].Error = text
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.ok(k.j.SetPolicies(k.Context(), now(), []journal.Spec{spec("full"), spec("bare"), spec("held")}))
		_, err := k.j.Place(k.Context(), journal.Order{Policy: "held", Kind: journal.OrderAbort, At: now()})
		k.ok(err)
		k.ok(k.j.SetHold(k.Context(), now(), "held", journal.Hold{Reason: "x", By: "me", At: now()}, event("held", journal.HoldSet)))
		got, err := k.j.LoadAll(k.Context(), []string{"held", "none", "full", "bare"})
		k.ok(err)
		k.equal("records", got, []*journal.Record{k.load("held"), nil, k.load("full"), k.load("bare")})
		k.equal("text", got[2].Targets[1].Error, text)
		got, err = k.j.LoadAll(k.Context(), nil)
		k.ok(err)
		k.equal("records of nobody", len(got), 0)
	}},
	{"many are committed as one is", func(k *kit) {
		const n = 16
		claims, recs := k.restAll(n)
		next := now().Add(time.Hour)
		done := make([]journal.Outcome, n)
		for i, rec := range recs {
			rec.Policy.NextRunAt, rec.Policy.WatchAt = next, next
			rec.Policy.Error = fmt.Sprint("seen ", i)
			rec.Policy.Health, rec.Policy.ProvedAt, rec.Policy.StaleAt = "ok", now(), next
			rec.Targets[0].SeenAt, rec.Targets[0].KeyID = next, fmt.Sprint("key ", i)
			rec.Keys[0].Health = journal.HealthOK
			done[i] = journal.Outcome{Claim: claims[i], Record: rec}
		}
		recs[1].Keys[0].ExpiresAt = next                           // what lists say too
		recs[9].Targets[0].SeenAt = recs[9].Base.Targets[0].SeenAt // nothing but the policy's own row
		recs[9].Targets[0].KeyID, recs[9].Keys[0].Health = recs[9].Base.Targets[0].KeyID, recs[9].Base.Keys[0].Health
		// What is refused, and what was lost, keeps nothing else from being written.
		more := k.rotation(recs[3].Policy.Name, journal.Planned)
		recs[3].Rotation = &more
		recs[4].Targets = append(recs[4].Targets, target(recs[4].Policy.Name, "new"))
		recs[5].Keys = append(recs[5].Keys, k.key(recs[5].Policy.Name, journal.CandidateKey))
		move(&recs[10].Keys[0], journal.RetiringKey)
		recs[11].Effects = append(recs[11].Effects, k.effect(recs[11].Policy.Name, recs[11].Keys[0].Ref, journal.EffectDisable))
		recs[12].Sightings = append(recs[12].Sightings, sighting(recs[12].Targets[0], "p"))
		recs[13].Retired = append(recs[13].Retired, k.rotation(recs[13].Policy.Name, journal.Live))
		done[6].Claim.Epoch--
		done[7].Claim.Owner = "replica-9"
		_, err := k.j.Place(k.Context(), journal.Order{Policy: claims[8].Policy, Kind: journal.OrderRotate, At: now()})
		k.ok(err)
		errs, err := k.j.CommitAll(k.Context(), done)
		k.ok(err)
		for i, err := range errs {
			switch i {
			case 3, 4, 5, 10, 11, 12, 13:
				k.refused(err, journal.ErrForbidden)
			case 6, 7:
				k.refused(err, journal.ErrLost)
			default:
				k.ok(err)
				got := k.load(claims[i].Policy)
				if i == 8 { // it was woken meanwhile
					recs[i].Policy.NextRunAt, recs[i].Orders = got.Policy.NextRunAt, got.Orders
					if got.Policy.NextRunAt.After(now()) {
						k.Errorf("woken, and due at %v", got.Policy.NextRunAt)
					}
				}
				recs[i].Base, got.Base = nil, nil
				k.equal("record", got, recs[i])
				k.refused(k.j.Release(k.Context(), claims[i], now()), journal.ErrLost)
				continue
			}
			k.equal("error", k.load(claims[i].Policy).Policy.Error, "")
			k.ok(k.j.Release(k.Context(), claims[i], now()))
		}
		errs, err = k.j.CommitAll(k.Context(), nil)
		k.ok(err)
		k.equal("nothing", len(errs), 0)
	}},
	{"what was forgotten does not come back", func(k *kit) {
		claims, recs := k.restAll(1)
		name := claims[0].Policy
		k.ok(k.j.SetPolicies(k.Context(), now(), nil))
		k.ok(k.j.Forget(k.Context(), now(), name, &recs[0].Targets[0].TargetID, event(name, journal.Forgotten)))
		recs[0].Targets[0].SeenAt = now()
		errs, err := k.j.CommitAll(k.Context(), []journal.Outcome{{Claim: claims[0], Record: recs[0]}})
		k.ok(err)
		k.ok(errs[0])
		k.equal("targets", len(k.load(name).Targets), 0)
	}},
	{"more than fit into one statement", func(k *kit) {
		const n = 600
		claims, recs := k.restAll(n)
		done := make([]journal.Outcome, n)
		for i := range done {
			recs[i].Policy.WatchAt, recs[i].Targets[0].SeenAt = now(), now()
			done[i] = journal.Outcome{Claim: claims[i], Record: recs[i]}
		}
		errs, err := k.j.CommitAll(k.Context(), done)
		k.ok(err)
		for _, err := range errs {
			k.ok(err)
		}
	}},
}
