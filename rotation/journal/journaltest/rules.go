package journaltest

import (
	"errors"
	"fmt"

	"rotator/rotation/journal"
)

var rules = []promise{
	{"a state needs its marks and has no other", func(k *kit) {
		c, rec := k.start("a")
		base := copyOf(rec)
		tried := 0
		for _, i := range journal.States {
			for _, m := range i.Needs {
				rec = copyOf(base)
				r := k.rotation("a", i.State)
				unmark(&r, []journal.Mark{m})
				rec.Rotation = &r
				if err := k.j.Commit(k.Context(), c, rec, false); !errors.Is(err, journal.ErrForbidden) {
					k.Errorf("%s without %s: %v", i.State, m, err)
				}
				tried++
			}
			for _, m := range i.Never {
				rec = copyOf(base)
				r := k.rotation("a", i.State)
				mark(&r, []journal.Mark{m}, now())
				rec.Rotation = &r
				if err := k.j.Commit(k.Context(), c, rec, false); !errors.Is(err, journal.ErrForbidden) {
					k.Errorf("%s with %s: %v", i.State, m, err)
				}
				tried++
			}
		}
		if tried < 25 {
			k.Errorf("only %d rules were tried", tried)
		}
		rec = copyOf(base)
		r := k.rotation("a", "sleeping")
		rec.Rotation = &r
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
		k.equal("record", k.load("a"), base)
	}},
	{"a rotation moves as the state table says", func(k *kit) {
		var names []string
		for _, from := range journal.States {
			for _, to := range journal.States {
				names = append(names, fmt.Sprintf("%s-%s", from.State, to.State))
			}
		}
		k.policies(names...)
		claimed, err := k.j.Claim(k.Context(), owner, now(), len(names))
		k.ok(err)
		ofPolicy := make(map[string]journal.Claim)
		for _, c := range claimed {
			ofPolicy[c.Policy] = c
		}
		for i, name := range names {
			from, to := journal.States[i/len(journal.States)], journal.States[i%len(journal.States)]
			rec := k.load(name)
			r := k.rotation(name, from.State)
			rec.Rotation = &r
			k.ok(k.j.Commit(k.Context(), ofPolicy[name], rec, false))
			moved := r
			moved.State, moved.Error = to.State, "moved"
			mark(&moved, to.Needs, now())
			unmark(&moved, to.Never)
			rec.Rotation = &moved
			err := k.j.Commit(k.Context(), ofPolicy[name], rec, false)
			may := from.State.May(to.State)
			if !r.EndedAt.IsZero() { // over, and not in the record any more
				may = false
			}
			if may != (err == nil) || (err != nil && !errors.Is(err, journal.ErrForbidden)) {
				k.Errorf("%s to %s: %v, but the state table says %v", from.State, to.State, err, may)
			}
		}
	}},
	{"a policy has one rotation in flight", func(k *kit) {
		c, rec := k.start("a")
		first := k.rotation("a", journal.Planned)
		rec.Rotation = &first
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		dropped := copyOf(rec)
		dropped.Rotation = nil
		k.refused(k.j.Commit(k.Context(), c, dropped, false), journal.ErrForbidden)
		second := k.rotation("a", journal.Planned)
		dropped.Rotation = &second
		k.refused(k.j.Commit(k.Context(), c, dropped, false), journal.ErrForbidden)
		blind := copyOf(rec) // even one that does not know of the first
		blind.Base.Rotation, blind.Rotation = nil, &second
		k.refused(k.j.Commit(k.Context(), c, blind, false), journal.ErrForbidden)
		k.equal("in flight", k.load("a").Rotation.ID, first.ID)
	}},
	{"values outside the closed lists are refused", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		rec.Rotation = &r
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		for what, spoil := range map[string]func(*journal.Record){
			"effect state": func(rec *journal.Record) {
				rec.Effects = []journal.Effect{k.effect("a", "r", journal.EffectCreate)}
				rec.Effects[0].State = "maybe"
			},
			"effect kind": func(rec *journal.Record) { rec.Effects = []journal.Effect{k.effect("a", "r", "dance")} },
			"key state":   func(rec *journal.Record) { rec.Keys = []journal.Key{k.key("a", "spare")} },
			"key origin": func(rec *journal.Record) {
				rec.Keys = []journal.Key{k.key("a", journal.LiveKey)}
				rec.Keys[0].Origin = "found"
			},
			"target status": func(rec *journal.Record) {
				rec.Targets = []journal.Target{target("a", "one")}
				rec.Targets[0].Status = "fine"
			},
			"hold's scope": func(rec *journal.Record) { rec.Hold = journal.Hold{Reason: "x", At: now(), Scope: "some"} },
			"order":        func(rec *journal.Record) { rec.Orders = []journal.Order{{ID: 99, Policy: "a", DoneAt: now()}} },
			"other's sighting": func(rec *journal.Record) {
				rec.Targets = []journal.Target{target("a", "one")}
				rec.Sightings = []journal.Sighting{sighting(target("b", "one"), "p")}
			},
			"other's target": func(rec *journal.Record) { rec.Targets = []journal.Target{target("b", "one")} },
		} {
			spoiled := copyOf(rec)
			spoil(spoiled)
			if err := k.j.Commit(k.Context(), c, spoiled, false); !errors.Is(err, journal.ErrForbidden) {
				k.Errorf("%s: %v, want it refused", what, err)
			}
		}
		_, err := k.j.Place(k.Context(), journal.Order{Policy: "a", Kind: "dance", At: now()})
		k.refused(err, journal.ErrForbidden)
	}},
}
