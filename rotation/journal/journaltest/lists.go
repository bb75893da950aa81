package journaltest

import (
	"time"

	"rotator/rotation/journal"
)

// putOff commits a record and puts its policy off, so that only a wake makes it due.
func (k *kit) putOff(c journal.Claim, rec *journal.Record) {
	k.Helper()
	rec.Policy.NextRunAt = now().Add(time.Hour)
	k.ok(k.j.Commit(k.Context(), c, rec, true))
	k.unclaimable()
}

var lists = []promise{
	{"a key that shows up again is there again", func(k *kit) {
		c, rec := k.start("a")
		deleted, absent, live, letGo := k.key("a", journal.DeletedKey), k.key("a", journal.AbsentKey), k.key("a", journal.LiveKey), k.key("a", journal.ForgottenKey)
		letGo.ID = "id-of-" + letGo.Ref
		rec.Keys = []journal.Key{deleted, absent, live, letGo}
		k.putOff(c, rec)

		reopen := func(ref, id string) error {
			return k.j.Reopen(k.Context(), now(), ref, journal.ListedKey{ID: id, UserID: "user", ExpiresAt: now().Add(time.Hour)})
		}
		k.ok(reopen(letGo.Ref, letGo.ID)) // not ours any more
		k.unclaimable()
		k.equal("one that was let go", k.stateOf(letGo.Name), journal.ForgottenKey)
		k.refused(reopen(deleted.Ref, "another"), journal.ErrForbidden)
		for _, key := range []journal.Key{deleted, absent, live} {
			id := key.ID
			if id == "" {
				id = "just found"
			}
			k.ok(reopen(key.Ref, id))
			k.ok(reopen(key.Ref, id)) // two replicas may see it
			k.putOff(k.claim("a"), k.load("a"))
		}
		got := k.load("a")
		k.equal("keys", len(got.Keys), 3)
		d, a := got.Key(deleted.Ref), got.Key(absent.Ref)
		k.equal("one that was deleted", []any{d.State, d.ID, d.DeletedAt, d.UserID}, []any{journal.DeletingKey, deleted.ID, time.Time{}, "user"})
		k.equal("one whose create had no effect", []any{a.State, a.ID, a.UserID}, []any{journal.RejectedKey, "just found", "user"})
		k.equal("one that is there", *got.Key(live.Ref), live)
	}},
	{"a list wakes the policies of keys that changed alone", func(k *kit) {
		claims, recs := k.two()
		var listed []journal.ListedKey
		for i, rec := range recs {
			key := k.key(rec.Policy.Name, journal.LiveKey)
			key.UserID, key.ExpiresAt = "user", now().Add(time.Hour)
			rec.Keys = []journal.Key{key, k.key(rec.Policy.Name, journal.CreatingKey)}
			listed = append(listed, journal.ListedKey{ID: key.ID, Name: key.Name, UserID: "user", ExpiresAt: key.ExpiresAt})
			rec.Policy.NextRunAt = now().Add(time.Hour)
			k.ok(k.j.Commit(k.Context(), claims[i], rec, true))
		}
		listed = append(listed, journal.ListedKey{ID: "nobody's", ExpiresAt: now()})
		save := func() { k.Helper(); k.ok(k.j.SaveList(k.Context(), now(), "research", listed)) }
		save()
		k.unclaimable() // nothing is new
		listed[0].UserID = ""
		save()
		k.unclaimable() // a list that does not say whose key it is
		k.equal("user", k.load("a").Keys[0].UserID, "user")
		for _, change := range []func(*journal.ListedKey){
			func(l *journal.ListedKey) { l.ExpiresAt = l.ExpiresAt.Add(-30 * time.Minute) },
			func(l *journal.ListedKey) { l.ExpiresAt = time.Time{} },
			func(l *journal.ListedKey) { l.Disabled = true },
			func(l *journal.ListedKey) { l.Disabled = false },
			func(l *journal.ListedKey) { l.UserID = "another" },
			func(l *journal.ListedKey) { l.Grant = `{"qps":1}` },
			func(l *journal.ListedKey) { l.Grant = `{"qps":2}` },
		} {
			change(&listed[0])
			k.ok(k.j.SaveList(k.Context(), now(), "another team", listed))
			k.unclaimable()
			save()
			save() // once more is no news
			c, rec := k.claim("a"), k.load("a")
			k.equal("expires", rec.Keys[0].ExpiresAt, listed[0].ExpiresAt)
			k.equal("grant", rec.Keys[0].Listed, listed[0].Grant)
			k.putOff(c, rec)
		}
		k.equal("user", k.load("a").Keys[0].UserID, "another")
		listed[0].Disabled = true
		listed[0], listed[1] = listed[1], listed[0]
		k.ok(k.j.SaveList(k.Context(), now(), "research", listed[1:]))
		k.claim("a")
	}},
	{"keys that are gone are not listed", func(k *kit) {
		c, rec := k.start("a")
		deleted, letGo := k.key("a", journal.DeletedKey), k.key("a", journal.ForgottenKey)
		letGo.ID = "id-of-" + letGo.Ref
		rec.Keys = []journal.Key{deleted, letGo}
		k.putOff(c, rec)
		k.ok(k.j.SaveList(k.Context(), now(), "research", []journal.ListedKey{{ID: deleted.ID, Disabled: true}, {ID: letGo.ID, Disabled: true}}))
		k.unclaimable()
	}},
}
