package memstore

import (
	"errors"
	"maps"
	"slices"
	"time"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// errLate is the answer to a call whose request lands later. It is none of package stores's errors: "not known".
var errLate = errors.New("no answer")

// Write is a change that was sent to the store.
type Write struct {
	Op          string // stage, promote, discard, fence
	Path, Field string // the canonical path
	Attempt     string
	Fingerprint secret.Fingerprint // of the value that is staged or promoted
}

// Pending is a write that was sent and has not landed yet.
type Pending struct {
	Write
	Due   time.Time
	Stale bool // the document changed since: it will fail
}

// Landed is a write at the moment at which it takes effect.
type Landed struct {
	Write
	At     time.Time          // of a late write: when it was due
	Late   bool               // its caller was told that the outcome is not known
	Before secret.Fingerprint // of a promote: what the target held
}

// request is a write with what its sender knew.
type request struct {
	op      string
	target  stores.Target // canonical
	attempt string
	value   secret.Text
	former  secret.Text // the value that a promote replaces
	doc     string      // the whole document to write
	version int         // of the document when it was read: the compare-and-swap token
}

func (r request) write() Write {
	return Write{
		Op: r.op, Path: r.target.Path, Field: r.target.Field, Attempt: r.attempt, Fingerprint: r.value.Fingerprint(),
	}
}

// landing is a request under way.
type landing struct {
	request
	due time.Time
}

// Late has the next write of op (stage, promote, discard or fence) land late: its call answers with an error that means
// "not known", and the request lands delay after it by the store's clock, at the latest moment at which anyone could
// tell: before the next call, look or Land that finds it due. Like any write it carries the version that its sender read:
// if the document changed in between it fails when it lands, and no one is told. Calls of op that send nothing, such as
// a Promote of the value already there, do not count. Several delays wait for several writes, in order.
func (s *Store) Late(op string, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late[op] = append(s.late[op], delay)
}

// Pending returns what is still to land, the next first.
func (s *Store) Pending() []Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []Pending
	for _, l := range s.inOrder() {
		stale := !s.Plain && (l.op == "promote" || l.op == "fence") && s.state.docs[l.target.Path].version != l.version
		out = append(out, Pending{l.write(), l.due, stale})
	}
	return out
}

// Land has everything land that is due.
func (s *Store) Land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

// LandAll has everything land that is under way, whether it is due or not.
func (s *Store) LandAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.inOrder() {
		_ = s.land(l.request, s.now(), true)
	}
	s.pending = nil
}

// OnLand has f called whenever a write of this store's callers takes effect, late or not, and not for one that fails or
// changes nothing. f is called under the store's lock, so that no landing is reported out of order: it must not call the store.
func (s *Store) OnLand(f func(Landed)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onLand = f
}

// Lag has Current, Staged and Previous show the state of d ago by the store's clock, as a follower would. States older than
// the first call of Lag are not kept: until d has passed, reads show the state at that call. Writes are never behind.
func (s *Store) Lag(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if s.lag = d; d == 0 {
		s.past = nil
		return
	}
	if s.past == nil {
		s.past = []moment{{s.now(), s.state.clone()}}
	}
}

// now is the time by the store's clock.
func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// inOrder returns what is under way, in the order in which it lands. mu is held.
func (s *Store) inOrder() []landing {
	slices.SortStableFunc(s.pending, func(a, b landing) int { return a.due.Compare(b.due) })
	return s.pending
}

// settle has everything land that is due. mu is held.
func (s *Store) settle() {
	now := s.now()
	for len(s.pending) > 0 {
		next := s.inOrder()[0]
		if next.due.After(now) {
			return
		}
		s.pending = s.pending[1:]
		_ = s.land(next.request, next.due, true) // a late write that fails fails unheard
	}
}

// land applies a request. mu is held.
func (s *Store) land(r request, at time.Time, late bool) error {
	key := place(r.target)
	landed := Landed{Write: r.write(), At: at, Late: late}
	switch r.op {
	case "stage":
		if s.state.staged[key] == nil {
			s.state.staged[key] = map[string]secret.Text{}
		}
		s.state.staged[key][r.attempt] = r.value
	case "discard":
		if _, there := s.state.staged[key][r.attempt]; !there {
			return nil
		}
		delete(s.state.staged[key], r.attempt)
	case "promote", "fence":
		held := s.state.docs[r.target.Path]
		if !s.Plain && held.version != r.version {
			return stores.ErrConflict
		}
		if r.op == "promote" {
			now, _ := s.state.read(r.target)
			landed.Before = now.Fingerprint()
			if !r.former.Empty() {
				s.state.former[key] = slices.Insert(s.state.former[key], 0, r.former)
			}
		}
		s.state.docs[r.target.Path] = newDocument(r.doc, true, held.version+1)
	}
	s.remember(at)
	if s.onLand != nil {
		s.onLand(landed)
	}
	return nil
}

// put makes doc the document, under a new version. mu is held.
func (s *Store) put(path, doc string, exists bool) {
	s.state.docs[path] = newDocument(doc, exists, s.state.docs[path].version+1)
	s.remember(s.now())
}

// moment is the store's state since a time.
type moment struct {
	since time.Time
	state state
}

// remember keeps the state that holds since at, while reads lag. mu is held.
func (s *Store) remember(at time.Time) {
	if s.lag == 0 {
		return
	}
	s.past = append(s.past, moment{at, s.state.clone()})
	for oldest := s.now().Add(-s.lag); len(s.past) > 1 && !s.past[1].since.After(oldest); {
		s.past = s.past[1:]
	}
}

// seen returns the state that a reader sees. mu is held.
func (s *Store) seen() state {
	if s.lag == 0 {
		return s.state
	}
	shown, until := s.past[0].state, s.now().Add(-s.lag)
	for _, m := range s.past {
		if !m.since.After(until) {
			shown = m.state
		}
	}
	return shown
}

// Copy returns another store in the same state, without a clock, hooks or lag. Nothing may be under way: it panics otherwise.
func (s *Store) Copy() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settle(); len(s.pending) > 0 {
		panic("memstore: Copy while a write is under way")
	}
	c := New()
	c.NoStaging, c.Plain, c.state, c.aliases = s.NoStaging, s.Plain, s.state.clone(), maps.Clone(s.aliases)
	return c
}

// clone returns a copy that later changes leave alone.
func (s state) clone() state {
	c := state{docs: maps.Clone(s.docs), staged: map[string]map[string]secret.Text{}, former: map[string][]secret.Text{}}
	for place, m := range s.staged {
		c.staged[place] = maps.Clone(m)
	}
	for place, values := range s.former {
		c.former[place] = slices.Clone(values)
	}
	return c
}

// read returns a canonical target's value.
func (s state) read(t stores.Target) (secret.Text, error) {
	doc := s.docs[t.Path]
	if !doc.exists || doc.text == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	if t.Field == "" {
		return secret.New(doc.text), nil
	}
	if v, known := doc.fields.Load(t.Field); known { // consumers are asked after every call, and the text is the same
		return v.(secret.Text), nil
	}
	v, err := jsonfield.Get([]byte(doc.text), t.Field)
	if errors.Is(err, jsonfield.ErrNotFound) || err == nil && v == "" {
		return secret.Text{}, stores.ErrNotFound
	}
	if err != nil {
		return secret.Text{}, stores.ErrInvalid
	}
	value := secret.New(v)
	doc.fields.Store(t.Field, value)
	return value, nil
}
