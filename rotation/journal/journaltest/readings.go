package journaltest

import (
	"fmt"

	"rotator/rotation/journal"
)

// read is what a replica read: these policies, each from its file.
func read(replica string, names ...string) journal.Reading {
	r := journal.Reading{Load: journal.Load{Replica: replica}}
	for _, name := range names {
		s := spec(name)
		s.File = name + ".yaml"
		r.Specs = append(r.Specs, s)
	}
	return r
}

// broken is a reading with problems.
func broken(r journal.Reading, digest string, kept ...string) journal.Reading {
	r.Kept = make(map[string]string)
	for _, name := range kept {
		r.Kept[name] = digest + " of " + name
	}
	r.Load.Problems, r.Load.Error, r.Load.Digest = max(1, len(kept)), "it is "+digest, digest
	return r
}

func (k *kit) loads(r journal.Reading) (awaited []string) {
	k.Helper()
	awaited, err := k.j.TakeReading(k.Context(), now(), r)
	k.ok(err)
	return awaited
}

// told counts the events of a kind.
func (k *kit) told(kind journal.Kind) (n int) {
	k.Helper()
	events, err := k.j.Events(k.Context(), 0, 0)
	k.ok(err)
	for _, e := range events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (k *kit) removed(policy string) bool {
	k.Helper()
	return !k.load(policy).Policy.RemovedAt.IsZero()
}

var readings = []promise{
	{"a policy that is kept stays as it was accepted", func(k *kit) {
		k.loads(read("r", "a", "b"))
		was := k.load("a").Policy
		k.equal("file", was.File, "a.yaml")
		for _, p := range []string{"a", "b"} {
			claims, err := k.j.Claim(k.Context(), owner, now(), 1, p)
			k.ok(err)
			k.ok(k.j.Release(k.Context(), claims[0], now().Add(journal.Horizon/2)))
		}
		k.loads(broken(read("r", "b"), "broken", "a", "new"))
		got := k.load("a").Policy
		k.equal("spec", got.Spec, was.Spec)
		k.equal("spec error", got.SpecError, "broken of a")
		k.equal("removed", got.RemovedAt.IsZero(), true)
		_, err := k.j.Load(k.Context(), "new")
		k.refused(err, journal.ErrNotFound)
		k.claim("a") // it is news to its owner, and nothing else is woken
		k.loads(broken(read("r", "b"), "broken", "a", "new"))
		k.unclaimable()

		accepted, err := k.j.Accepted(k.Context())
		k.ok(err)
		for i := range accepted {
			accepted[i].Targets = nil
		}
		k.equal("accepted", accepted, read("r", "a", "b").Specs)

		k.loads(read("r", "a", "b"))
		k.equal("spec error", k.load("a").Policy.SpecError, "")
		moved := read("r", "a", "b")
		moved.Specs[1].File = "elsewhere.yaml"
		k.loads(moved)
		k.equal("file", k.load("b").Policy.File, "elsewhere.yaml")
		_, err = k.j.TakeReading(k.Context(), now(), broken(read("r", "a"), "broken", "a"))
		k.refused(err, journal.ErrForbidden)
	}},
	{"a partial reading removes nothing, and what was removed comes back with a good file", func(k *kit) {
		k.loads(read("r", "a", "b", "c"))
		partial := broken(read("r", "a"), "broken")
		partial.Partial = true
		k.loads(partial)
		k.equal("removed", k.removed("b") || k.removed("c"), false)
		k.loads(read("r", "a"))
		k.equal("removed", k.removed("b") && k.removed("c"), true)
		vanished, err := k.j.Vanished(k.Context())
		k.ok(err)
		names := []string{}
		for _, s := range vanished {
			names = append(names, s.Name+" from "+s.File)
		}
		k.equal("vanished", names, []string{"b from b.yaml", "c from c.yaml"})
		k.loads(broken(read("r", "a"), "broken", "b"))
		k.equal("removed", k.removed("b"), true)
		k.equal("vanished told", k.told(journal.PolicyRemoved), 1)
	}},
	{"a renaming that is refused takes nothing over", func(k *kit) {
		k.loads(read("r", "old"))
		k.loads(broken(read("r"), "broken", "old", "new"))
		k.equal("removed", k.removed("old"), false)
	}},
	{"a set of problems is reported once, whoever has it", func(k *kit) {
		k.loads(broken(read("r", "a"), "one"))
		k.loads(broken(read("r", "a"), "one"))
		k.equal("told", k.told(journal.ReloadRefused), 1)
		k.loads(broken(read("next process", "a"), "one"))
		k.equal("told", k.told(journal.ReloadRefused), 1)
		k.loads(broken(read("next process", "a"), "two"))
		k.equal("told", k.told(journal.ReloadRefused), 2)
		k.loads(read("next process", "a"))
		k.loads(broken(read("next process", "a"), "two"))
		k.equal("told", k.told(journal.ReloadRefused), 3)
	}},
	{"what was read last is known, with how it went", func(k *kit) {
		last := func() []journal.Load {
			all, err := k.j.Loads(k.Context())
			k.ok(err)
			return all
		}
		k.equal("loads", len(last()), 0)
		k.policies("a") // by no one who says who they are
		k.equal("loads", len(last()), 0)
		k.loads(broken(read("r", "a", "b"), "broken", "c"))
		got := last()
		if len(got) != 1 || got[0].At.IsZero() {
			k.Fatalf("loads %+v", got)
		}

		want := journal.Load{Replica: "r", At: got[0].At, Policies: 2, Problems: 1, Error: "it is broken", Digest: "broken"}
		k.equal("load", got[0], want)
		k.equal("ok", got[0].OK(), false)
		k.loads(read("r", "a", "b", "c"))
		got = last()
		k.equal("load", []any{len(got), got[0].Policies, got[0].OK()}, []any{1, 3, true})
		k.ok(k.j.Leave(k.Context(), "r"))
		k.equal("loads", len(last()), 1) // no replica lives: what was read last
	}},
	{"a policy that a live replica names is not removed", func(k *kit) {
		if k.j.Lease() == 0 { // one process has the journal
			k.loads(read("r1", "a", "b"))
			k.equal("awaited", len(k.loads(read("r2", "a"))), 0)
			k.equal("removed", k.removed("b"), true)
			return
		}
		yesterday := journal.Replica{Name: "yesterday", StartedAt: now()}
		k.ok(k.j.Beat(k.Context(), now(), yesterday))
		k.loads(read("yesterday", "a", "b"))
		k.loads(read("today", "a", "b", "c"))
		// The one with yesterday's files starts again: what it does not name stays.
		k.equal("awaited", k.loads(read("yesterday", "a", "b")), []string{"c"})
		k.equal("removed", k.removed("c"), false)
		// A file that it still has goes.
		k.equal("awaited", k.loads(read("today", "a", "c")), []string{"b"})
		k.equal("removed", k.removed("b"), false)
		k.equal("vanished told", k.told(journal.PolicyRemoved), 0)
		partial := broken(read("yesterday", "c"), "broken")
		partial.Partial = true
		k.loads(partial)
		k.equal("awaited", k.loads(read("today", "c")), []string{"a", "b"})
		k.ok(k.j.Leave(k.Context(), "yesterday"))
		k.equal("awaited", len(k.loads(read("today", "a", "c"))), 0)
		k.equal("removed", []bool{k.removed("a"), k.removed("b"), k.removed("c")}, []bool{false, true, false})
		k.equal("vanished told", k.told(journal.PolicyRemoved), 1)
	}},
	{"what was said before is not said again", func(k *kit) {
		old := read("r", "a", "b")
		k.loads(old)
		edited := read("r", "a", "b")
		edited.Specs[0].Canonical = "edited elsewhere"
		k.loads(edited)
		again := read("r", "a", "b")
		again.Again = map[string]bool{"a": true, "b": true}
		k.loads(again)
		k.equal("spec", k.load("a").Policy.Spec, "edited elsewhere")
		k.loads(read("r", "b"))
		k.equal("removed", k.removed("a"), true)
		k.loads(again)
		k.equal("removed", k.removed("a"), false)
		k.equal("spec of one that comes back", k.load("a").Policy.Spec, old.Specs[0].Canonical)
	}},
	{"many policies are kept at once", func(k *kit) {
		var names []string
		for i := range 300 {
			names = append(names, fmt.Sprintf("policy-%03d", i))
		}
		k.loads(read("r", names...))
		k.loads(broken(read("r", names[200:]...), "broken", names[:200]...))
		k.equal("spec error", k.load("policy-199").Policy.SpecError, "broken of policy-199")
		k.equal("spec error", k.load("policy-200").Policy.SpecError, "")
		all, err := k.j.Loads(k.Context())
		k.ok(err)
		k.equal("policies", all[0].Policies, 300)
	}},
}
