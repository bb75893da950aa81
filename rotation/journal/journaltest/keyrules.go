package journaltest

import (
	"errors"
	"fmt"

	"rotator/rotation/journal"
)

// stateOf is the state of a key, also of one that is gone.
func (k *kit) stateOf(name string) journal.KeyState {
	k.Helper()
	found, err := k.j.KeysByName(k.Context(), []string{name})
	k.ok(err)
	if len(found) != 1 {
		k.Fatalf("%d keys of the name %s", len(found), name)
	}
	return found[0].State
}

// two makes two policies and claims both.
func (k *kit) two() (claims []journal.Claim, recs []*journal.Record) {
	k.Helper()
	k.policies("a", "b")
	for _, name := range []string{"a", "b"} {
		c, err := k.j.Claim(k.Context(), owner, now(), 1, name)
		k.ok(err)
		claims, recs = append(claims, c...), append(recs, k.load(name))
	}
	return claims, recs
}

var keyRules = []promise{
	{"a key's state needs its marks and has no other", func(k *kit) {
		c, rec := k.start("a")
		base := copyOf(rec)
		tried := 0
		try := func(what string, key journal.Key) {
			rec := copyOf(base)
			rec.Keys = []journal.Key{key}
			if err := k.j.Commit(k.Context(), c, rec, false); !errors.Is(err, journal.ErrForbidden) {
				k.Errorf("%s: %v", what, err)
			}
			tried++
		}
		for _, i := range journal.KeyStates {
			for _, m := range i.Needs {
				key := k.key("a", i.State)
				unmarkKey(&key, []journal.KeyMark{m})
				try(fmt.Sprintf("%s without %s", i.State, m), key)
			}
			for _, m := range i.Never {
				key := k.key("a", i.State)
				markKey(&key, []journal.KeyMark{m}, now())
				try(fmt.Sprintf("%s with %s", i.State, m), key)
			}
		}
		if tried < 35 {
			k.Errorf("only %d rules were tried", tried)
		}
		k.equal("record", k.load("a"), base)
	}},
	{"a key moves as its table says", func(k *kit) {
		var names []string
		for _, from := range journal.KeyStates {
			for _, to := range journal.KeyStates {
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
			from, to := journal.KeyStates[i/len(journal.KeyStates)].State, journal.KeyStates[i%len(journal.KeyStates)].State
			rec, key := k.load(name), k.key(name, from)
			rec.Keys = []journal.Key{key}
			k.ok(k.j.Commit(k.Context(), ofPolicy[name], rec, false))
			move(&key, to)
			key.Error = "moved"
			rec.Keys = []journal.Key{key}
			may := from.May(to)
			if from.Gone() { // such a key is not in the record; one that was forgotten is adopted, and lists bring the others back
				may = from == journal.ForgottenKey && to != from && may
			}
			err := k.j.Commit(k.Context(), ofPolicy[name], rec, false)
			if may != (err == nil) || (err != nil && !errors.Is(err, journal.ErrForbidden)) {
				k.Errorf("%s to %s: %v, but the table says %v", from, to, err, may)
			}
			want := from
			if may {
				want = to
			}
			k.equal("state", k.stateOf(key.Name), want)
		}
	}},
	{"a policy has one live key", func(k *kit) {
		c, rec := k.start("a")
		first := k.key("a", journal.LiveKey)
		rec.Keys = []journal.Key{first}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		second := k.key("a", journal.LiveKey)
		rec.Keys = append(rec.Keys, second)
		k.refused(k.j.Commit(k.Context(), c, rec, false), journal.ErrForbidden)
		// In whatever order they are, they change places in one commit.
		move(&first, journal.RetiringKey)
		rec.Keys = []journal.Key{second, first}
		k.ok(k.j.Commit(k.Context(), c, rec, false))
		move(&rec.Keys[0], journal.RetiringKey)
		move(&rec.Keys[1], journal.LiveKey)
		k.ok(k.j.Commit(k.Context(), c, rec, true))
		k.equal("live", k.load("a").Policy.KeyID, first.ID)
	}},
	{"an id and a name are given once", func(k *kit) {
		claims, recs := k.two()
		mine := k.key("a", journal.CandidateKey)
		recs[0].Keys = []journal.Key{mine}
		k.ok(k.j.Commit(k.Context(), claims[0], recs[0], false))
		for what, spoil := range map[string]func(*journal.Key){
			"id":   func(key *journal.Key) { key.ID = mine.ID },
			"name": func(key *journal.Key) { key.Name = mine.Name },
			"ref":  func(key *journal.Key) { key.Ref = mine.Ref },
			"none": func(key *journal.Key) { key.Name = "" },
		} {
			rec, key := copyOf(recs[1]), k.key("b", journal.CandidateKey)
			spoil(&key)
			rec.Keys = []journal.Key{key}
			if err := k.j.Commit(k.Context(), claims[1], rec, false); !errors.Is(err, journal.ErrForbidden) {
				k.Errorf("%s: %v", what, err)
			}
		}
		recs[0].Keys[0].Name = "renamed"
		k.refused(k.j.Commit(k.Context(), claims[0], recs[0], false), journal.ErrForbidden)
		recs[0].Keys = []journal.Key{k.key("a", journal.CreatingKey), k.key("a", journal.CreatingKey)} // none has an id yet
		k.ok(k.j.Commit(k.Context(), claims[0], recs[0], false))
	}},
	{"a key belongs to one policy", func(k *kit) {
		claims, recs := k.two()
		mine := k.key("a", journal.RetiringKey)
		recs[0].Keys = []journal.Key{mine}
		k.ok(k.j.Commit(k.Context(), claims[0], recs[0], false))
		stolen := mine
		stolen.Policy = "b"
		recs[1].Keys = []journal.Key{stolen}
		k.refused(k.j.Commit(k.Context(), claims[1], recs[1], false), journal.ErrForbidden)
		recs[1].Keys = []journal.Key{mine} // nor does a claim speak for another policy
		k.refused(k.j.Commit(k.Context(), claims[1], recs[1], false), journal.ErrForbidden)
		got, err := k.j.Key(k.Context(), mine.ID)
		k.ok(err)
		k.equal("key", got, mine)
	}},
	{"a key that was forgotten is adopted again, also by another policy", func(k *kit) {
		claims, recs := k.two()
		mine := k.key("a", journal.RetiringKey)
		recs[0].Keys = []journal.Key{mine}
		k.ok(k.j.Commit(k.Context(), claims[0], recs[0], false))
		move(&recs[0].Keys[0], journal.ForgottenKey)
		k.ok(k.j.Commit(k.Context(), claims[0], recs[0], true))
		for _, s := range []journal.KeyState{journal.DeletingKey, journal.DisabledKey, journal.ForgottenKey} {
			again := mine
			again.Policy = "b"
			move(&again, s)
			recs[1].Keys = []journal.Key{again}
			k.refused(k.j.Commit(k.Context(), claims[1], recs[1], false), journal.ErrForbidden)
		}
		again := mine
		again.Policy, again.Origin = "b", journal.OfAdoption
		move(&again, journal.LiveKey)
		recs[1].Keys = []journal.Key{again}
		k.ok(k.j.Commit(k.Context(), claims[1], recs[1], false))
		k.equal("keys", k.load("b").Keys, []journal.Key{again})
		k.equal("keys of the one before", len(k.load("a").Keys), 0)
		again.Policy = "a" // it is not free any more
		rec := k.load("a")
		rec.Keys = []journal.Key{again}
		c, err := k.j.Claim(k.Context(), owner, now(), 1, "a")
		k.ok(err)
		k.refused(k.j.Commit(k.Context(), c[0], rec, false), journal.ErrForbidden)
	}},
}
