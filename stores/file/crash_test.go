package file

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"rotator/internal/secret"
	"rotator/stores"
)

// errDead is what a dead process does: nothing more.
var errDead = errors.New("the process is dead")

// TestCrash kills the process before each step of each call, also before its cleaning up, and shows that a consumer finds
// the old value or the new one at every moment, and that the same call, made again, succeeds and leaves nothing behind.
func TestCrash(t *testing.T) {
	t.Parallel()
	old, value := key(), key()
	calls := map[string]func(*Store, stores.Target) error{
		"stage":   func(s *Store, target stores.Target) error { return s.Stage(t.Context(), target, attempt, value) },
		"discard": func(s *Store, target stores.Target) error { return s.Discard(t.Context(), target, attempt) },
		"check":   func(s *Store, target stores.Target) error { return s.Check(t.Context(), target) },
		"promote": func(s *Store, target stores.Target) error {
			return s.Promote(t.Context(), target, attempt, value, old.Fingerprint())
		},
		"create": func(s *Store, target stores.Target) error {
			return s.Promote(t.Context(), target, attempt, value, "")
		},
	}
	for name, call := range calls {
		for _, field := range []string{"", "key"} {
			t.Run(name+" "+field, func(t *testing.T) {
				t.Parallel()
				for dead := 0; ; dead++ {
					if !crashOnce(t, field, old, value, name, call, dead) {
						if dead < 2 {
							t.Errorf("the call ended after %d steps", dead)
						}
						return
					}
				}
			})
		}
	}
}

// crashOnce runs one call that dies before its step number dead, and reports whether it got that far.
func crashOnce(t *testing.T, field string, old, value secret.Text, name string, call func(*Store, stores.Target) error, dead int) bool {
	t.Helper()
	dir, target := t.TempDir(), stores.Target{Path: "sub/folder/key", Field: field}
	before := old
	doc, err := place{field: field}.replaceValue(nil, old)
	if err != nil {
		t.Fatal(err)
	}
	if name == "create" {
		before = secret.Text{}
	} else {
		write(t, dir, target.Path, string(doc))
	}
	if name == "discard" {
		want(t, open(t, dir, nil).Stage(t.Context(), target, attempt, value), nil)
	}

	steps, s := 0, open(t, dir, nil)
	s.before = func(step, _ string) error {
		consumer(t, dir, target, step, before, value)
		if steps++; steps > dead {
			return errDead
		}
		return nil
	}
	callErr := call(s, target)
	consumer(t, dir, target, "end", before, value)

	again := open(t, dir, nil)
	current, err := again.Current(t.Context(), target)
	if err == nil && current.Equal(value) && !before.Empty() {
		if previous, err := again.Previous(t.Context(), target, before.Fingerprint()); err != nil || !previous.Equal(before) {
			t.Errorf("dead at step %d: the old value is lost: %v", dead, err)
		}
	}
	want(t, call(again, target), nil)
	if name != "stage" {
		if left := leftovers(t, dir, target); len(left) != 0 {
			t.Errorf("dead at step %d: left behind: %q", dead, left)
		}
	}
	if name == "promote" || name == "create" {
		if got, err := again.Current(t.Context(), target); err != nil || !got.Equal(value) {
			t.Errorf("dead at step %d: promoted again, the target holds something else: %v", dead, err)
		}
	}
	want(t, again.Discard(t.Context(), target, attempt), nil)
	if left := leftovers(t, dir, target); len(left) != 0 {
		t.Errorf("dead at step %d: left behind after discard: %q", dead, left)
	}
	if steps <= dead {
		want(t, callErr, nil)
		return false
	}
	want(t, callErr, errDead)
	return true
}

// consumer reads the file as consumers do: it must hold one of two values, whole.
func consumer(t *testing.T, dir string, target stores.Target, step string, allowed ...secret.Text) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, target.Path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	got, err := place{field: target.Field}.valueOf(text)
	if err != nil && !errors.Is(err, stores.ErrNotFound) || !slices.ContainsFunc(allowed, got.Equal) {
		t.Errorf("at %q a consumer reads %q, %v", step, text, err)
	}
}

// TestLitter: what a dead promote left half-written is removed by whatever is next asked of its target.
func TestLitter(t *testing.T) {
	t.Parallel()
	old, value := key(), key()
	target := stores.Target{Path: "folder/key"}
	for name, next := range map[string]func(*Store) error{
		"stage":   func(s *Store) error { return s.Stage(t.Context(), target, attempt, value) },
		"discard": func(s *Store) error { return s.Discard(t.Context(), target, attempt) },
		"check":   func(s *Store) error { return s.Check(t.Context(), target) },
		"promote": func(s *Store) error { return s.Promote(t.Context(), target, attempt, old, value.Fingerprint()) },
		"a promote that conflicts": func(s *Store) error {
			if err := s.Promote(t.Context(), target, attempt, value, value.Fingerprint()); !errors.Is(err, stores.ErrConflict) {
				return errors.New("no conflict")
			}
			return nil
		},
	} {
		for _, last := range []string{"rename", "compare"} { // in the store's own folder, and beside the target
			t.Run(name+" after "+last, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				write(t, dir, target.Path, old.Reveal())
				s, dead := open(t, dir, nil), false
				s.before = func(step, _ string) error {
					if dead = dead || step == last; dead {
						return errDead
					}
					return nil
				}
				want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), errDead)
				if left := leftovers(t, dir, target); len(left) != 1 {
					t.Fatalf("the dead left %q", left)
				}
				s.before = nil
				want(t, next(s), nil)
				left := slices.DeleteFunc(leftovers(t, dir, target), func(name string) bool { return strings.HasSuffix(name, ".staged") })
				if len(left) != 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// TestOrder: what a crash of the machine may not reorder is synced in between.
func TestOrder(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), key()
	s, target := open(t, dir, nil), stores.Target{Path: "key"}
	write(t, dir, "key", old.Reveal())
	want(t, s.Discard(t.Context(), target, attempt), nil) // makes the store's own folder
	var steps []string
	s.before = func(step, _ string) error { steps = append(steps, step); return nil }
	value := key()
	want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
	former := []string{"lock", "create", "access", "write", "sync file", "rename", "sync folder"}
	replaced := []string{"create", "access", "write", "sync file", "compare", "rename", "sync folder"}
	if diff := cmp.Diff(append(former, replaced...), steps); diff != "" {
		t.Errorf("promote (-want +got):\n%s", diff)
	}
	steps = nil
	want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
	if diff := cmp.Diff([]string{"lock", "sync file", "sync folder"}, steps); diff != "" {
		t.Errorf("promote of what is there (-want +got):\n%s", diff)
	}
}

// TestFaults: an error of the disk at any step, after which the process lives on, loses nothing and is not known.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"create", "access", "write", "sync file", "compare", "rename"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir, old := t.TempDir(), key()
			s, target := open(t, dir, nil), stores.Target{Path: "key"}
			write(t, dir, "key", old.Reveal())
			s.before = func(at, _ string) error {
				if at == step {
					return unix.ENOSPC
				}
				return nil
			}
			for _, err := range []error{
				s.Promote(t.Context(), target, attempt, key(), old.Fingerprint()),
				s.Promote(t.Context(), stores.Target{Path: "new"}, attempt, key(), ""),
			} {
				want(t, err, unix.ENOSPC)
				for _, known := range []error{stores.ErrInvalid, stores.ErrDenied, stores.ErrNotFound, stores.ErrConflict} {
					if errors.Is(err, known) {
						t.Errorf("a full disk reads as %v", known)
					}
				}
			}
			consumer(t, dir, target, "end", old)
			if left := leftovers(t, dir, target); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestUnfit: a file system that cannot sync a folder, or has no locks, is said to be none for this store.
func TestUnfit(t *testing.T) {
	t.Parallel()
	for _, errno := range []error{unix.EINVAL, unix.ENOTSUP, unix.ENOSYS} {
		s := open(t, t.TempDir(), nil)
		s.before = func(step, _ string) error {
			if step == "sync folder" {
				return errno
			}
			return nil
		}
		want(t, s.Check(t.Context(), stores.Target{Path: "key"}), stores.ErrInvalid)
	}
}

// fullVariable asks this test's own program, run again, to be the process that may write only small files.
const fullVariable = "FILE_TEST_FULL_DIR"

// TestFullDisk writes half a file for real: the limit on a file's size, which every user may lower, ends the write.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	old, target := key(), stores.Target{Path: "key"}
	if dir := os.Getenv(fullVariable); dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, "key"))
		if err != nil {
			t.Fatal(err)
		}
		old = secret.New(string(text))
		var now unix.Rlimit
		want(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &now), nil)
		want(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 16, Max: now.Max}), nil)
		s := open(t, dir, nil)
		want(t, s.Stage(t.Context(), target, attempt, key()), unix.EFBIG)
		want(t, s.Promote(t.Context(), target, attempt, key(), old.Fingerprint()), unix.EFBIG)
		want(t, s.Check(t.Context(), target), unix.EFBIG)
		want(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &now), nil) // the test's own reports are larger
		return
	}
	dir := t.TempDir()
	write(t, dir, "key", old.Reveal())
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$")
	again.Env = append(os.Environ(), fullVariable+"="+dir)
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	consumer(t, dir, target, "end", old)
	if left := leftovers(t, dir, target); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestReaders: consumers who read all the time see whole values only.
func TestReaders(t *testing.T) {
	t.Parallel()
	dir, values := t.TempDir(), []secret.Text{key(), key(), key()}
	s, target := open(t, dir, nil), stores.Target{Path: "shared.json", Field: "key"}
	want(t, s.Promote(t.Context(), target, attempt, values[0], ""), nil)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					consumer(t, dir, target, "reading", values...)
				}
			}
		})
	}
	for i := range 50 {
		from, to := values[i%3], values[(i+1)%3]
		want(t, s.Promote(t.Context(), target, attempt, to, from.Fingerprint()), nil)
	}
	close(done)
	readers.Wait()
}
