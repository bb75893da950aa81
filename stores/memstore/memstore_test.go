package memstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/stores"
	"rotator/stores/memstore"
	"rotator/stores/storetest"
)

// clock is a clock that moves only when told.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestConformance(t *testing.T) {
	t.Run("versions", func(t *testing.T) { conformance(t, memstore.New()) })
	plain := memstore.New()
	plain.Plain = true
	t.Run("plain", func(t *testing.T) { conformance(t, plain) })
}

func conformance(t *testing.T, s *memstore.Store) {
	var n atomic.Int64
	target := func(field string) func(*testing.T) stores.Target {
		return func(*testing.T) stores.Target {
			return stores.Target{Path: fmt.Sprint("t", n.Add(1)), Field: field}
		}
	}
	storetest.Run(t, storetest.Harness{
		Store: s, Structured: target("api_key"), Whole: target(""),
		Seed: func(_ *testing.T, at stores.Target, doc string) { s.Set(at.Path, doc) },
		Read: func(_ *testing.T, at stores.Target) (string, bool) { return s.Doc(at.Path) },
		Leftovers: func(_ *testing.T, at stores.Target) (out []string) {
			for _, l := range s.Leftovers() {
				if strings.HasPrefix(l, at.Path+"#") {
					out = append(out, l)
				}
			}
			return out
		},
		Delay: func(*testing.T, stores.Target) storetest.Delayed {
			s.Late("promote", time.Hour)
			sent := make(chan struct{})
			s.OnCall(func(c memstore.Call) error {
				if c.Op == "promote" && c.Done && len(s.Pending()) > 0 {
					s.OnCall(nil) // before the test goes on: its next promote is not this one
					close(sent)
				}
				return nil
			})
			return storetest.Delayed{Sent: sent, Release: s.LandAll}
		},
		Alias: func(_ *testing.T, at stores.Target) (stores.Target, bool) {
			alias := at
			alias.Path = "also/" + at.Path
			s.Alias(alias.Path, at.Path)
			return alias, true
		},
		CanStage: true, StagesEmpty: true, KeepsPrevious: true, HasCAS: true, CannotFence: s.Plain,
	})
}

// newStore returns a store whose clock does not move, and a target in it that holds old beside another field.
func newStore() (*memstore.Store, *clock, stores.Target) {
	s, c := memstore.New(), &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.Now = c.now
	s.Set("app", `{"api_key":"`+old+`","other":"a"}`)
	return s, c, stores.Target{Path: "app", Field: "api_key"}
}

const (
	old   = "xai-old-value-of-the-target"
	fresh = "xai-new-value-of-the-target"
)

// promote promotes fresh over old, and returns whether the outcome is known.
func promote(t *testing.T, s *memstore.Store, at stores.Target) bool {
	t.Helper()
	return known(s.Promote(t.Context(), at, "a", secret.New(fresh), secret.New(old).Fingerprint()))
}

func known(err error) bool {
	for _, e := range []error{stores.ErrNotFound, stores.ErrConflict, stores.ErrInvalid, stores.ErrDenied, stores.ErrNoStaging} {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil
}

// holds checks what the target truly holds.
func holds(t *testing.T, s *memstore.Store, at stores.Target, want string) {
	t.Helper()
	if got := s.Read(at).Reveal(); got != want {
		t.Errorf("the target holds %q, want %q", got, want)
	}
}

// TestLatePromote: the answer is lost, and the write lands when its time has come, and not before.
func TestLatePromote(t *testing.T) {
	t.Parallel()
	s, c, at := newStore()
	s.Late("promote", time.Minute)
	if promote(t, s, at) {
		t.Fatal("the outcome is known")
	}
	c.at = c.at.Add(time.Minute - 1)
	holds(t, s, at, old)
	under := s.Pending()
	want := memstore.Write{Op: "promote", Path: "app", Field: "api_key", Attempt: "a", Fingerprint: secret.New(fresh).Fingerprint()}
	if len(under) != 1 || under[0].Write != want || !under[0].Due.Equal(c.at.Add(1)) {
		t.Errorf("under way: %+v", under)
	}
	c.at = c.at.Add(1)
	holds(t, s, at, fresh)
	if len(s.Pending()) != 0 {
		t.Error("it is still under way")
	}
	if s.Set("app", `{"api_key":"`+old+`"}`); !promote(t, s, at) {
		t.Error("the next promote is late too")
	}
}

// TestLateConflicts: a late write fails if anything of its document changed, unless the store is plain: then it wins, and
// takes other fields back.
func TestLateConflicts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *memstore.Store, at stores.Target) error{
		"another field": func(s *memstore.Store, _ stores.Target) error {
			s.Set("app", `{"api_key":"`+old+`","other":"b"}`)
			return nil
		},
		"the same again": func(s *memstore.Store, _ stores.Target) error {
			s.Set("app", `{"api_key":"`+old+`","other":"a"}`)
			return nil
		},
		"deleted and made again": func(s *memstore.Store, _ stores.Target) error {
			s.Delete("app")
			s.Set("app", `{"api_key":"`+old+`","other":"a"}`)
			return nil
		},
		"a fence": func(s *memstore.Store, at stores.Target) error {
			if s.Plain {
				return nil
			}
			return s.Fence(t.Context(), at)
		},
	} {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/plain %t", name, plain), func(t *testing.T) {
				t.Parallel()
				s, c, at := newStore()
				s.Plain = plain
				s.Late("promote", time.Minute)
				promote(t, s, at)
				if err := change(s, at); err != nil {
					t.Fatal(err)
				}
				c.at = c.at.Add(time.Hour)
				want := old
				if plain {
					want = fresh
				}
				holds(t, s, at, want)
				if doc, _ := s.Doc("app"); plain && !strings.Contains(doc, `"other":"a"`) {
					t.Errorf("the other field was not taken back: %s", doc)
				}
			})
		}
	}
}

// TestLateStaging: a late stage and a late discard land, in the order of their times, also after what was done meanwhile.
func TestLateStaging(t *testing.T) {
	t.Parallel()
	s, c, at := newStore()
	var landed []string
	s.OnLand(func(l memstore.Landed) { landed = append(landed, fmt.Sprint(l.Op, " ", l.Attempt, " ", l.Late)) })
	s.Late("stage", 2*time.Minute)
	s.Late("stage", time.Minute)
	for _, a := range []string{"a", "b"} {
		if known(s.Stage(t.Context(), at, a, secret.New(fresh))) {
			t.Fatal("the outcome is known")
		}
	}
	if err := s.Discard(t.Context(), at, "a"); err != nil { // nothing is there yet
		t.Fatal(err)
	}
	c.at = c.at.Add(time.Hour)
	s.Land()
	if got := s.Leftovers(); len(got) != 2 {
		t.Errorf("staged: %q", got)
	}
	s.Late("discard", time.Minute)
	if known(s.Discard(t.Context(), at, "a")) {
		t.Error("the outcome is known")
	}
	if v, err := s.Staged(t.Context(), at, "a"); err != nil || v.Reveal() != fresh {
		t.Errorf("staged: %v", err)
	}
	s.LandAll()
	if got := strings.Join(landed, ", "); got != "stage b true, stage a true, discard a true" {
		t.Errorf("landed: %s", got)
	}
}

// TestLateFence: a fence that lands late still stops what was sent before it, and not what was sent after.
func TestLateFence(t *testing.T) {
	t.Parallel()
	s, c, at := newStore()
	s.Late("promote", 2*time.Minute)
	promote(t, s, at)
	s.Late("fence", time.Minute)
	if known(s.Fence(t.Context(), at)) {
		t.Error("the outcome is known")
	}
	c.at = c.at.Add(time.Hour)
	holds(t, s, at, old)
	if !promote(t, s, at) {
		t.Error("the next promote is late")
	}
	holds(t, s, at, fresh)
}

// TestOnLand reports what takes effect, and nothing else.
func TestOnLand(t *testing.T) {
	t.Parallel()
	s, c, at := newStore()
	var landed []memstore.Landed
	s.OnLand(func(l memstore.Landed) { landed = append(landed, l) })
	s.Late("promote", time.Minute)
	promote(t, s, at)
	if len(landed) != 0 {
		t.Fatalf("before it landed: %+v", landed)
	}
	due := c.at.Add(time.Minute)
	c.at = c.at.Add(time.Hour)
	s.Land()
	promote(t, s, at) // the value there already
	want := memstore.Landed{
		Write: memstore.Write{Op: "promote", Path: "app", Field: "api_key", Attempt: "a", Fingerprint: secret.New(fresh).Fingerprint()},
		At:    due, Late: true, Before: secret.New(old).Fingerprint(),
	}
	if len(landed) != 1 || landed[0] != want {
		t.Errorf("landed: %+v", landed)
	}
}

// TestLag: reads are behind by the lag, writes are not.
func TestLag(t *testing.T) {
	t.Parallel()
	s, c, at := newStore()
	s.Lag(time.Minute)
	if !promote(t, s, at) {
		t.Fatal("the promote failed")
	}
	if err := s.Stage(t.Context(), at, "b", secret.New(fresh)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pass time.Duration
		want string
		err  error // of reading what is staged and what was there before
	}{{0, old, stores.ErrNotFound}, {time.Minute - 1, old, stores.ErrNotFound}, {1, fresh, nil}} {
		c.at = c.at.Add(step.pass)
		v, err := s.Current(t.Context(), at)
		if err != nil || v.Reveal() != step.want {
			t.Errorf("after %v: %v", step.pass, err)
		}
		_, staged := s.Staged(t.Context(), at, "b")
		_, previous := s.Previous(t.Context(), at, secret.New(old).Fingerprint())
		if !errors.Is(staged, step.err) || !errors.Is(previous, step.err) {
			t.Errorf("after %v: staged %v, previous %v", step.pass, staged, previous)
		}
	}
	s.Delete("app")
	if _, err := s.Current(t.Context(), at); err != nil {
		t.Errorf("a follower knows of the delete at once: %v", err)
	}
	s.Lag(0)
	if _, err := s.Current(t.Context(), at); !errors.Is(err, stores.ErrNotFound) {
		t.Errorf("without lag: %v", err)
	}
}

// TestGuard: nothing leaves when the check before a change says no.
func TestGuard(t *testing.T) {
	t.Parallel()
	s, _, at := newStore()
	if err := s.Stage(t.Context(), at, "a", secret.New(fresh)); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the claim was lost")
	ctx := guard.With(t.Context(), func() error { return lost })
	s.OnLand(func(l memstore.Landed) { t.Errorf("landed: %+v", l) })
	for _, op := range []string{"stage", "promote", "discard", "fence"} {
		s.Late(op, 0)
	}
	for _, err := range []error{
		s.Stage(ctx, at, "b", secret.New(fresh)), s.Fence(ctx, at), s.Discard(ctx, at, "a"),
		s.Promote(ctx, at, "a", secret.New(fresh), secret.New(old).Fingerprint()),
	} {
		if !errors.Is(err, lost) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Current(ctx, at); err != nil {
		t.Error(err)
	}
	s.LandAll()
}

// A copy is what its original was, and neither changes with the other.
func TestCopy(t *testing.T) {
	s := memstore.New()
	s.Set("p", "one")
	if err := s.Stage(t.Context(), stores.Target{Path: "p"}, "x", secret.New("two")); err != nil {
		t.Fatal(err)
	}
	c := s.Copy()
	c.Set("p", "three")
	if err := c.Discard(t.Context(), stores.Target{Path: "p"}, "x"); err != nil {
		t.Fatal(err)
	}
	if doc, _ := s.Doc("p"); doc != "one" || len(s.Leftovers()) != 1 || len(c.Leftovers()) != 0 {
		t.Errorf("the original has %q and staged %v, the copy staged %v", doc, s.Leftovers(), c.Leftovers())
	}
}
