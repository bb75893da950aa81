package journaltest

import (
	"errors"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

var rules = []promise{
	{"a state needs its marks and bears no other", func(k *kit) {
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
		if tried < 30 {
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
			rec.Rotation.State, rec.Rotation.Error = to.State, "moved"
			mark(rec.Rotation, to.Needs, now())
			unmark(rec.Rotation, to.Never)
			err := k.j.Commit(k.Context(), ofPolicy[name], rec, false)
			if may := from.State.May(to.State); may != (err == nil) || (err != nil && !errors.Is(err, journal.ErrForbidden)) {
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
	{"a name of an attempt is given once", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		one := k.attempt(r, journal.Intended)
		rec.Rotation, rec.Attempts = &r, []journal.Attempt{one}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		same := k.attempt(r, journal.Intended)
		same.Name = one.Name
		rec.Attempts = append(rec.Attempts, same)
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
		rec.Attempts = []journal.Attempt{one}
		rec.Attempts[0].Name = "renamed"
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
		rec.Attempts[0] = one
		rec.Attempts[0].State = journal.Created // without the id that xAI answered
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
	}},
	{"a key belongs to one policy", func(k *kit) {
		k.policies("a", "b")
		claimed, err := k.j.Claim(k.Context(), owner, now(), 2)
		k.ok(err)
		mine := k.key(claimed[0].Policy)
		rec := k.load(claimed[0].Policy)
		rec.Keys = []journal.Key{mine}
		k.ok(k.j.Commit(k.Context(), claimed[0], rec, false))
		other := k.load(claimed[1].Policy)
		stolen := mine
		stolen.Policy = claimed[1].Policy
		other.Keys = []journal.Key{stolen}
		k.refused(k.j.Commit(k.Context(), claimed[1], other, false), journal.ErrForbidden)
		other.Keys = []journal.Key{mine} // nor does a claim speak for another policy
		k.refused(k.j.Commit(k.Context(), claimed[1], other, false), journal.ErrForbidden)
		got, err := k.j.Key(k.Context(), mine.ID)
		k.ok(err)
		k.equal("key", got, mine)
	}},
	{"what was deleted stays deleted", func(k *kit) {
		c, rec := k.start("a")
		rec.Keys = []journal.Key{k.key("a")}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Keys[0].DeleteSentAt, rec.Keys[0].DeletedAt = now(), now()
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		k.equal("keys that are there", len(k.load("a").Keys), 0)
		rec.Keys[0].Health = "dead" // what else is learned of it may be written
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		rec.Keys[0].DeletedAt = time.Time{}
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
	}},
	{"values outside the closed lists are refused", func(k *kit) {
		c, rec := k.start("a")
		r := k.rotation("a", journal.Planned)
		rec.Rotation = &r
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		for what, spoil := range map[string]func(*journal.Record){
			"attempt state": func(rec *journal.Record) { rec.Attempts = []journal.Attempt{k.attempt(r, "maybe")} },
			"key use":       func(rec *journal.Record) { rec.Keys = []journal.Key{k.key("a")}; rec.Keys[0].Use = "spare" },
			"key origin":    func(rec *journal.Record) { rec.Keys = []journal.Key{k.key("a")}; rec.Keys[0].Origin = "found" },
			"target status": func(rec *journal.Record) {
				rec.Targets = []journal.Target{target("a", "one")}
				rec.Targets[0].Status = "fine"
			},
			"order":          func(rec *journal.Record) { rec.Orders = []journal.Order{{ID: 99, Policy: "a", DoneAt: now()}} },
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
