package xaisim

import (
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
)

// key is one API key. What takes effect late is kept as times and changes, never as timers.
type key struct {
	id, name, user string
	team           *team
	order          uint64 // its place in lists: random, and the same in every page of a listing
	acls           []string
	qps, qpm       *int
	tpm            *string

	created, modified time.Time
	expires           time.Time  // zero: never
	gone              time.Time  // deleted at; zero: it is there
	shown             switches   // disabled, as the Management API says
	refused           []switches // disabled, as each cluster of the inference API acts; one when there are no clusters
	current           *credential
	credentials       []*credential // current included

	views []view // what lists show instead, oldest first

	uses     int
	lastUsed time.Time
	hours    map[int64]int // Unix hour → chats
}

// credential is one secret of a key; rotate gives a key a second one for a while.
type credential struct {
	key   *key
	plain string
	known []time.Time // by cluster: from when it is known there
	dies  time.Time   // zero: with its key
}

// switches is a bool that changes at known times.
type switches []change

type change struct {
	at time.Time
	on bool
}

func (w switches) at(now time.Time) bool {
	on := false
	for _, c := range w {
		if !c.at.After(now) {
			on = c.on
		}
	}
	return on
}

func (w *switches) set(at time.Time, on bool) {
	*w = append(*w, change{at, on})
	slices.SortStableFunc(*w, func(a, b change) int { return a.at.Compare(b.at) })
}

// forget drops what has not happened yet.
func (w *switches) forget(now time.Time) {
	*w = slices.DeleteFunc(*w, func(c change) bool { return c.at.After(now) })
}

// settle drops all but the last of what has happened.
func (w *switches) settle(now time.Time) {
	for len(*w) > 1 && !(*w)[1].at.After(now) {
		*w = (*w)[1:]
	}
}

// newKey adds a key. s.mu is held.
func (s *Sim) newKey(t *team, now time.Time, user, name string, acls []string) *key {
	k := &key{id: s.uuid(), name: s.cut(name), user: user, team: t, refused: make([]switches, max(1, len(s.o.Clusters))), order: s.rng.Uint64(), acls: acls,
		created: now, modified: now, hours: map[int64]int{}}
	s.newCredential(k, now)
	s.keys[k.id] = k
	i, _ := slices.BinarySearchFunc(t.keys, k.order, byOrder)
	t.keys = slices.Insert(t.keys, i, k)
	return k
}

// clusters returns what each cluster knows, to be changed.
func (k *key) clusters() []*switches {
	all := make([]*switches, len(k.refused))
	for i := range k.refused {
		all[i] = &k.refused[i]
	}
	return all
}

// refuses reports whether the cluster refuses the key as disabled; one below 0 is any.
func (k *key) refuses(cluster int, now time.Time) bool { return k.refused[max(0, cluster)].at(now) }

// cut is a name as xAI keeps it.
func (s *Sim) cut(name string) string {
	if r := []rune(name); s.o.NameLimit > 0 && len(r) > s.o.NameLimit {
		return string(r[:s.o.NameLimit])
	}
	return name
}

func byOrder(k *key, order uint64) int {
	switch {
	case k.order < order:
		return -1
	case k.order > order:
		return 1
	}
	return 0
}

// newCredential gives k a new secret, which the clusters learn of one by one.
func (s *Sim) newCredential(k *key, now time.Time) {
	c := &credential{key: k, plain: "xai-" + s.alphanumerics(80)}
	for range s.o.Clusters {
		c.known = append(c.known, now.Add(s.o.Propagation(s.rng)))
	}
	k.current = c
	k.credentials = append(k.credentials, c)
	s.secrets[c.plain] = c
}

// remove deletes k. It stays in memory as long as something still sees it, and for the truth.
func (s *Sim) remove(k *key, now time.Time) {
	k.gone = now
	s.effect("delete", k, now)
	s.deleted = append(s.deleted, k.id)
	if len(s.deleted) <= maxDeleted {
		return
	}
	old := s.keys[s.deleted[0]]
	s.deleted = s.deleted[1:]
	delete(s.keys, old.id)
	for _, c := range old.credentials {
		delete(s.secrets, c.plain)
	}
	old.team.keys = slices.DeleteFunc(old.team.keys, func(o *key) bool { return o == old })
}

// listed reports whether lists show k.
func (s *Sim) listed(k *key, now time.Time) bool {
	return !k.created.Add(s.o.ListLag).After(now) && (k.gone.IsZero() || k.gone.Add(s.o.ListLag).After(now))
}

// live reports whether the cluster takes c for a key that it knows: it has reached it, and is neither dead nor expired.
func (s *Sim) live(c *credential, cluster int, now time.Time) bool {
	k := c.key
	switch {
	case cluster < len(c.known) && c.known[cluster].After(now),
		!k.gone.IsZero() && !k.gone.Add(s.o.DeleteLag).After(now),
		!k.expires.IsZero() && !k.expires.After(now),
		!c.dies.IsZero() && !c.dies.After(now):
		return false
	}
	return true
}

// KeyTruth is what a key really is, whatever the APIs say at the moment.
type KeyTruth struct {
	ID, Name, Team string
	User           string // that made it
	ACLs           []string
	QPS, QPM       *int    // nil: none of its own
	TPM            *string // nil: none of its own
	Created        time.Time
	Expires        time.Time // zero: never
	Disabled       bool      // as the Management API has it
	Refused        bool      // as disabled, by at least one cluster
	Deleted        bool
	Secret         secret.Text // the current one
	Uses           int         // chats that were answered
	LastUsed       time.Time
}

// Keys returns all keys that the team has and had, oldest first.
func (s *Sim) Keys(team string) []KeyTruth {
	s.mu.Lock()
	defer s.unlock()
	now := s.now()
	t := s.teams[team]
	if t == nil {
		return nil
	}
	truth := make([]KeyTruth, 0, len(t.keys))
	for _, k := range t.keys {
		truth = append(truth, k.truth(now))
	}
	slices.SortStableFunc(truth, func(a, b KeyTruth) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return truth
}

func (k *key) truth(now time.Time) KeyTruth {
	return KeyTruth{ID: k.id, Name: k.name, Team: k.team.id, User: k.user, ACLs: slices.Clone(k.acls), QPS: k.qps, QPM: k.qpm, TPM: k.tpm, Created: k.created,
		Expires: k.expires, Disabled: k.shown.at(now), Deleted: !k.gone.IsZero(), Secret: secret.New(k.current.plain),
		Refused: slices.ContainsFunc(k.refused, func(w switches) bool { return w.at(now) }),
		Uses:    k.uses, LastUsed: k.lastUsed}
}

// Live returns the keys of the team that are not deleted.
func (s *Sim) Live(team string) []KeyTruth {
	return slices.DeleteFunc(s.Keys(team), func(k KeyTruth) bool { return k.Deleted })
}

// Accepts reports whether every cluster takes the value now: the key is known there, enabled and allowed anything at all,
// and its team is not blocked. Billing and rate limits are no part of it.
func (s *Sim) Accepts(value secret.Text) bool {
	all, _ := s.accepting(value)
	return all
}

// AcceptsSomewhere reports whether at least one cluster takes the value now, as in Accepts.
func (s *Sim) AcceptsSomewhere(value secret.Text) bool {
	_, some := s.accepting(value)
	return some
}

func (s *Sim) accepting(value secret.Text) (all, some bool) {
	s.mu.Lock()
	defer s.unlock()
	now := s.now()
	c := s.secrets[value.Reveal()]
	if c == nil || len(c.key.acls) == 0 || c.key.team.blocked {
		return false, false
	}
	all = true
	for cluster := range c.key.refused {
		takes := s.live(c, cluster, now) && !c.key.refuses(cluster, now)
		all, some = all && takes, some || takes
	}
	return all, some
}

// AddKey makes a key as someone did long ago: every cluster and every list knows it.
func (s *Sim) AddKey(team, name string, acls ...string) (id string, value secret.Text) {
	s.mu.Lock()
	defer s.unlock()
	s.addTeam(team)
	now := s.now()
	k := s.newKey(s.teams[team], now, "user-1", name, acls)
	k.created = now.Add(-s.o.ListLag)
	for i := range k.current.known {
		k.current.known[i] = now
	}
	s.effect("create", k, now)
	return k.id, secret.New(k.current.plain)
}

// SetOwner changes whose key it is.
func (s *Sim) SetOwner(id, user string) {
	s.withKey(id, func(k *key, _ time.Time) { k.user = user })
}

// SetCreated changes when a key was made.
func (s *Sim) SetCreated(id string, at time.Time) {
	s.withKey(id, func(k *key, _ time.Time) { k.created = at })
}

// SetExpires changes when a key expires; the zero time is never.
func (s *Sim) SetExpires(id string, at time.Time) {
	s.withKey(id, func(k *key, _ time.Time) { k.expires = at })
}

// ChangeKey changes name, ACLs, limits and expiry of a key as a human would; false when there is none.
func (s *Sim) ChangeKey(id string, change func(*KeyTruth)) bool {
	return s.withKey(id, func(k *key, now time.Time) {
		t := k.truth(now)
		change(&t)
		s.changing(k, now)
		k.name, k.acls, k.qps, k.qpm, k.tpm, k.expires, k.modified = t.Name, t.ACLs, t.QPS, t.QPM, t.TPM, t.Expires, now
	})
}

// DeleteKey deletes a key as a human would, with all the usual lags; false when there is none.
func (s *Sim) DeleteKey(id string) bool { return s.withKey(id, s.remove) }

// DisableKey disables a key as a human would.
func (s *Sim) DisableKey(id string) bool {
	return s.withKey(id, func(k *key, now time.Time) { s.setDisabled(k, now, true) })
}

// EnableKey enables a key as a human would.
func (s *Sim) EnableKey(id string) bool {
	return s.withKey(id, func(k *key, now time.Time) { s.setDisabled(k, now, false) })
}

// withKey runs f on a key that is not deleted; false when there is none.
func (s *Sim) withKey(id string, f func(*key, time.Time)) bool {
	s.mu.Lock()
	defer s.unlock()
	now := s.now()
	k := s.keys[id]
	if k == nil || !k.gone.IsZero() {
		return false
	}
	f(k, now)
	return true
}
