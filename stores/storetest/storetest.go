// Package storetest is the suite that every store passes: the promises of package stores, one by one.
//
// A store's own test builds a [Harness] over a real server, an emulator or a folder, and calls [Run]. What a human or
// another program does to a secret from outside goes through the harness, by the store's native API, so that the suite
// never believes the store about itself. Every error of the store is searched for every value that the suite gave it.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"rotator/internal/secret"
	"rotator/stores"
)

// Harness is one store and the native access to what it keeps. Its functions are called from parallel tests.
type Harness struct {
	Store stores.Store

	// Structured returns a target that nothing holds yet: one field, named in Target.Field, of a JSON object.
	Structured func(t *testing.T) stores.Target
	// Whole returns a target that nothing holds yet and whose whole value is the key; Target.Field is empty.
	// Nil where every secret is structured: then documents that are no JSON object are not tried either.
	Whole func(t *testing.T) stores.Target

	// Seed makes doc all that the target's secret holds, as a human with the native tools would: for a structured
	// target the JSON object doc, otherwise the text doc. The secret may exist already.
	Seed func(t *testing.T, target stores.Target, doc string)
	// Read returns all that the target's secret holds, in the form that Seed takes; false when there is no such secret.
	// The order of members and the spelling of escapes are free, the spelling of numbers is not.
	Read func(t *testing.T, target stores.Target) (doc string, found bool)
	// Leftovers names everything that is staged for the target, and everything else that would be litter once all
	// attempts are discarded. Former values that Previous needs are none.
	Leftovers func(t *testing.T, target stores.Target) []string

	// Race, where not nil, runs human once during the next Promote at the target: after the store has read what the
	// target holds, as late as possible before it writes.
	Race func(t *testing.T, target stores.Target, human func())

	// Delay, where not nil, has the write of the next Promote at the target leave the store with what was read before it,
	// and arrive only when it is released, as that of a process or a network that froze. Required for a stores.Fencer.
	Delay func(t *testing.T, target stores.Target) Delayed
	// Alias, where not nil, returns another way to write the target, which the same place of a stores.Placer shows; false
	// where there is none.
	Alias func(t *testing.T, target stores.Target) (stores.Target, bool)

	// CanStage says that a target which holds something can stage; StagesEmpty, that one which holds nothing can too.
	CanStage, StagesEmpty bool
	// KeepsPrevious says that the store implements stores.Previous and keeps at least the two newest former values.
	KeepsPrevious bool
	// HasCAS says that a writer between a Promote's read and its write is noticed.
	HasCAS bool
	// CannotFence says that the store is a stores.Fencer that cannot fence these targets: Fence is
	// stores.ErrCannotFence and changes nothing.
	CannotFence bool
	// PlainOnly says that the target's format has no way to write every value: what is not printable ASCII without quotes and
	// backslashes is stores.ErrInvalid and changes nothing.
	PlainOnly bool
}

// Delayed is a write that is held back.
type Delayed struct {
	Sent    <-chan struct{} // closed once the write is under way
	Release func()          // has it arrive, and waits until it did: with success or without
}

// Run holds the harness's store against the contract.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Store == nil || h.Structured == nil || h.Seed == nil || h.Read == nil || h.Leftovers == nil {
		t.Fatal("storetest: Store, Structured, Seed, Read and Leftovers are required")
	}
	if _, fences := h.Store.(stores.Fencer); fences && !h.CannotFence && h.Delay == nil {
		t.Fatal("storetest: a store that fences requires Delay")
	}
	t.Run("structured", func(t *testing.T) { runShape(t, h, true, h.Structured) })
	if h.Whole != nil {
		t.Run("whole", func(t *testing.T) { runShape(t, h, false, h.Whole) })
	}
}

// runShape runs every test with targets of one shape. Races and delays run first and alone, since an interposed writer may not be
// able to tell two targets apart; everything else runs in parallel.
func runShape(t *testing.T, h Harness, structured bool, target func(*testing.T) stores.Target) {
	for _, group := range [][]test{races, delays, reading, staging, promoting, keeping, fencing, placing, warning, misuse, concurrent} {
		for _, tc := range group {
			s := &suite{Harness: h, structured: structured, fresh: target}
			if tc.needs != nil && !tc.needs(s) {
				continue // the store does not promise this
			}
			t.Run(tc.name, func(t *testing.T) {
				if !tc.alone {
					t.Parallel()
				}
				tc.run(t, s, target(t))
			})
		}
	}
}

// test is one promise. It gets a target that nothing holds.
type test struct {
	name  string
	alone bool              // not beside other tests
	needs func(*suite) bool // nil: every store promises it, of both shapes
	run   func(t *testing.T, s *suite, target stores.Target)
}

func isStructured(s *suite) bool  { return s.structured }
func holdsText(s *suite) bool     { return s.structured && s.Whole != nil }
func canStage(s *suite) bool      { return s.CanStage }
func stagesFields(s *suite) bool  { return s.structured && s.CanStage }
func cannotStage(s *suite) bool   { return !s.CanStage }
func hasCheck(s *suite) bool      { _, ok := s.Store.(stores.Checker); return ok }
func keepsPrevious(s *suite) bool { return s.KeepsPrevious }
func canRace(s *suite) bool       { return s.Race != nil && s.HasCAS }

func fences(s *suite) bool        { _, ok := s.Store.(stores.Fencer); return ok && !s.CannotFence }
func cannotFence(s *suite) bool   { _, ok := s.Store.(stores.Fencer); return ok && s.CannotFence }
func canDelay(s *suite) bool      { return s.Delay != nil }
func canDelayFence(s *suite) bool { return s.Delay != nil && fences(s) }
func places(s *suite) bool        { _, ok := s.Store.(stores.Placer); return ok }

// suite is what one test works with.
type suite struct {
	Harness
	structured bool
	fresh      func(*testing.T) stores.Target // another target of the same shape

	mu     sync.Mutex
	values []string // guarded by mu: what no error may show
}

// key returns a new random value of an API key's form.
func (s *suite) key() secret.Text {
	return s.secret("xai-" + rand.Text() + rand.Text() + rand.Text() + rand.Text()[:2])
}

// secret returns value as one that no error may show.
func (s *suite) secret(value string) secret.Text {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, value)
	return secret.New(value)
}

// attempt returns a new attempt's id.
func attempt() string { return uuid.Must(uuid.NewV7()).String() }

// human writes value into the target from outside, together with other fields where it is structured.
func (s *suite) human(t *testing.T, target stores.Target, value secret.Text) {
	t.Helper()
	s.Seed(t, target, s.doc(t, target, value, others))
}

// others are the fields beside ours that a structured secret holds: whatever JSON can say.
const others = `{"plain":"kept","unicode":"ключ 鍵 🔑 é","quotes":"a\"b\\c\nd\te<&>","nested":{"list":[1,{"x":null}],"yes":true},` +
	`"integer":123456789012345678901234567890,"huge":1e400,"float":1.10,"empty":"","null":null,"odd \"name\"":[]}`

// doc returns the document of a structured target with the members of rest and our field, or else the value itself.
func (s *suite) doc(t *testing.T, target stores.Target, value secret.Text, rest string) string {
	t.Helper()
	if target.Field == "" {
		return value.Reveal()
	}
	members := decode(t, rest)
	members[target.Field] = value.Reveal()
	doc, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// holds checks from outside that the target holds value, and beside it exactly rest.
func (s *suite) holds(t *testing.T, target stores.Target, value secret.Text, rest string) {
	t.Helper()
	doc, found := s.Read(t, target)
	switch {
	case !found:
		t.Error("the target's secret does not exist")
	case target.Field == "":
		if doc != value.Reveal() {
			t.Errorf("the target holds %q, want %q", doc, value.Reveal())
		}
	default:
		want := decode(t, rest)
		want[target.Field] = value.Reveal()
		if diff := cmp.Diff(want, decode(t, doc)); diff != "" {
			t.Errorf("the target's secret differs (-want +got):\n%s", diff)
		}
	}
	s.current(t, target, value)
}

// current checks that the store reads value.
func (s *suite) current(t *testing.T, target stores.Target, value secret.Text) {
	t.Helper()
	got, err := s.Store.Current(t.Context(), target)
	if s.is(t, err, nil); err == nil && !got.Equal(value) {
		t.Errorf("Current = %q, want %q", got.Reveal(), value.Reveal())
	}
}

// staged checks that the store holds value for the attempt; the empty value stands for ErrNotFound.
func (s *suite) staged(t *testing.T, target stores.Target, attempt string, value secret.Text) {
	t.Helper()
	got, err := s.Store.Staged(t.Context(), target, attempt)
	if value.Empty() {
		s.is(t, err, stores.ErrNotFound)
		return
	}
	if s.is(t, err, nil); err == nil && !got.Equal(value) {
		t.Errorf("Staged = %q, want %q", got.Reveal(), value.Reveal())
	}
}

// clean checks from outside that nothing is left behind for the target.
func (s *suite) clean(t *testing.T, target stores.Target) {
	t.Helper()
	if left := s.Leftovers(t, target); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// unchanged returns a check that the target's secret is what it was when unchanged was called.
func (s *suite) unchanged(t *testing.T, target stores.Target) func() {
	t.Helper()
	doc, found := s.Read(t, target)
	return func() {
		t.Helper()
		if now, is := s.Read(t, target); now != doc || is != found {
			t.Errorf("the target's secret changed from %q (%v) to %q (%v)", doc, found, now, is)
		}
	}
}

// is checks that err means want and nothing else of the contract, and that it shows no value.
func (s *suite) is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
	for _, other := range sentinels {
		if !errors.Is(want, other) && errors.Is(err, other) {
			t.Errorf("the error %v means %v too", err, other)
		}
	}
	s.silent(t, err)
}

var sentinels = []error{
	stores.ErrNotFound, stores.ErrConflict, stores.ErrNoStaging, stores.ErrDenied, stores.ErrInvalid,
	stores.ErrStale, context.Canceled,
}

// known reports whether err is an answer, and not the "not known" after which a caller tries again.
func known(err error) bool {
	return err == nil || slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) })
}

// fragment is the length in bytes of the shortest piece of a value that counts as a leak.
const fragment = 8

// silent checks that the error's text shows no piece of any value that this test has used.
func (s *suite) silent(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range s.values {
		for i := 0; i+fragment <= len(value); i++ {
			if strings.Contains(err.Error(), value[i:i+fragment]) {
				t.Errorf("the error shows a piece of a value: %v", err)
				return
			}
		}
	}
}

// decode reads a JSON object with its numbers as they are written.
func decode(t *testing.T, doc string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		t.Fatalf("the target's secret is no JSON object: %v", err)
	}
	return members
}
