package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"rotator/internal/guard"
	"rotator/stores"
)

// TestHardLink: a file with a second name, which would keep the old value, is refused before anything is written.
func TestHardLink(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), key()
	s, target := open(t, dir, nil), stores.Target{Path: "key"}
	write(t, dir, "key", old.Reveal())
	second := filepath.Join(dir, "second")
	if err := os.Link(filepath.Join(dir, "key"), second); err != nil {
		t.Fatal(err)
	}
	want(t, s.Check(t.Context(), target), stores.ErrInvalid)
	want(t, s.Promote(t.Context(), target, attempt, key(), old.Fingerprint()), stores.ErrInvalid)
	if got, err := s.Current(t.Context(), target); err != nil || !got.Equal(old) {
		t.Errorf("the target changed: %v", err)
	}
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	want(t, s.Check(t.Context(), target), nil)
	want(t, s.Promote(t.Context(), target, attempt, key(), old.Fingerprint()), nil)
}

// TestGuard: a process that lost its claim while it wrote changes nothing that is read.
func TestGuard(t *testing.T) {
	t.Parallel()
	dir, old, staged := t.TempDir(), key(), key()
	s, target := open(t, dir, nil), stores.Target{Path: "key"}
	write(t, dir, "key", old.Reveal())
	want(t, s.Stage(t.Context(), target, attempt, staged), nil)
	lost := errors.New("the claim was lost")
	for name, call := range map[string]func(context.Context) error{
		"promote": func(ctx context.Context) error { return s.Promote(ctx, target, attempt, staged, old.Fingerprint()) },
		"stage":   func(ctx context.Context) error { return s.Stage(ctx, target, attempt, key()) },
		"discard": func(ctx context.Context) error { return s.Discard(ctx, target, attempt) },
		"fence":   func(ctx context.Context) error { return s.Fence(ctx, target) },
	} {
		if err := call(guard.With(t.Context(), func() error { return lost })); !errors.Is(err, lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The promote keeps the former value first: the claim may be lost between the two renames.
	asked := 0
	ctx := guard.With(t.Context(), func() error {
		if asked++; asked == 2 {
			return lost
		}
		return nil
	})
	if err := s.Promote(ctx, target, attempt, staged, old.Fingerprint()); !errors.Is(err, lost) {
		t.Errorf("promote: %v after %d questions", err, asked)
	}
	if got, err := s.Current(t.Context(), target); err != nil || !got.Equal(old) {
		t.Errorf("the target changed: %v", err)
	}
	if got, err := s.Staged(t.Context(), target, attempt); err != nil || !got.Equal(staged) {
		t.Errorf("what is staged changed: %v", err)
	}
}

// TestPlace: the folder counts, not the way to it.
func TestPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "sub/key", key().Reveal())
	a, err := open(t, dir, nil).Place(t.Context(), stores.Target{Path: "sub/key"})
	want(t, err, nil)
	for where, target := range map[string]stores.Target{link: {Path: "sub/key"}, filepath.Join(dir, "sub"): {Path: "key"}} {
		if b, err := open(t, where, nil).Place(t.Context(), target); err != nil || a != b {
			t.Errorf("%s: %q and %q: %v", where, a, b, err)
		}
	}
	_, err = open(t, dir, nil).Place(t.Context(), stores.Target{Path: "none/key"})
	want(t, err, stores.ErrNotFound)
}
