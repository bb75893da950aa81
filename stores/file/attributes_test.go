package file

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// attach gives a file an extended attribute; false where the file system has none, or where that takes rights.
func attach(t *testing.T, path, name, value string) bool {
	t.Helper()
	err := unix.Setxattr(path, name, []byte(value), 0)
	if err != nil {
		t.Logf("%s cannot be set here: %v", name, err)
	}
	return err == nil
}

// attached is an extended attribute of a file; "" when it has none.
func attached(path, name string) string {
	buf := make([]byte, 1024)
	n, err := unix.Getxattr(path, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// TestAttributes: what users noted at the file stays at the one that replaces it, whoever may read or write it, and a
// rollback keeps it too.
func TestAttributes(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o600, 0o440, 0o400} {
		dir := t.TempDir()
		ordinary(t, dir, func() {
			s, target, old, value := open(t, dir, nil), stores.Target{Path: "key"}, key(), key()
			write(t, dir, "key", old.Reveal())
			path := filepath.Join(dir, "key")
			can := attach(t, path, "user.owner", "chat") && attach(t, path, "user.empty", "") && attach(t, path, "user.bytes", "a\x00b")
			if err := os.Chmod(path, mode); err != nil {
				t.Error(err)
			}
			want(t, s.Check(t.Context(), target), nil)
			got, err := s.Warnings(t.Context(), []stores.Target{target})
			if err != nil || len(got) > 0 {
				t.Errorf("%+v, %v", got, err)
			}
			want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
			want(t, s.Promote(t.Context(), target, attempt, old, value.Fingerprint()), nil)
			if can && (attached(path, "user.owner") != "chat" || attached(path, "user.bytes") != "a\x00b") {
				t.Errorf("mode %v: the attributes are %q and %q", mode, attached(path, "user.owner"), attached(path, "user.bytes"))
			}
			if now, _, _ := status(t, path); now != mode {
				t.Errorf("the mode is %v, want %v", now, mode)
			}
		})
	}
}

// TestAttributesOfAnother: a file that is given to its owner keeps its attributes.
func TestAttributesOfAnother(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), key()
	write(t, dir, "key", old.Reveal())
	path := filepath.Join(dir, "key")
	can := attach(t, path, "user.owner", "chat")
	if unix.Geteuid() == 0 {
		if err := errors.Join(os.Chown(path, 12345, 23456), os.Chmod(path, 0o440)); err != nil {
			t.Fatal(err)
		}
	}
	want(t, open(t, dir, nil).Promote(t.Context(), stores.Target{Path: "key"}, attempt, key(), old.Fingerprint()), nil)
	if can && attached(path, "user.owner") != "chat" {
		t.Error("the attribute is lost")
	}
}

// TestAttributesAreWatched: one that is set between the look at the file and its replacement is not lost.
func TestAttributesAreWatched(t *testing.T) {
	t.Parallel()
	dir, old, value := t.TempDir(), key(), key()
	write(t, dir, "key", old.Reveal())
	path := filepath.Join(dir, "key")
	s, can, once := open(t, dir, nil), true, false
	s.before = func(step, _ string) error {
		if step == "compare" && !once {
			once, can = true, attach(t, path, "user.late", "yes")
		}
		return nil
	}
	want(t, s.Promote(t.Context(), stores.Target{Path: "key"}, attempt, value, old.Fingerprint()), nil)
	if can && attached(path, "user.late") != "yes" {
		t.Error("the attribute is lost")
	}
	consumer(t, dir, stores.Target{Path: "key"}, "end", value)
}

// TestLostAttributes: one that the file system or our rights do not let us set is reported, and stops nothing.
func TestLostAttributes(t *testing.T) {
	t.Parallel()
	dir, old, value := t.TempDir(), key(), key()
	write(t, dir, "key", old.Reveal())
	path, target := filepath.Join(dir, "key"), stores.Target{Path: "key"}
	can := attach(t, path, "trusted.backup", "no") // which takes root to see
	s := open(t, dir, nil)
	got, err := s.Warnings(t.Context(), []stores.Target{target, {Path: "absent"}, {Path: "no/folder"}})
	if err != nil {
		t.Fatal(err)
	}
	if can && (len(got) != 1 || !strings.Contains(got[0].Text, `"trusted.backup"`) || got[0].Targets[0].Path != "key") {
		t.Errorf("%+v", got)
	}
	if left := leftovers(t, dir, target); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	want(t, s.Promote(t.Context(), target, attempt, value, old.Fingerprint()), nil)
	consumer(t, dir, target, "end", value)
}

// TestRefusedAttributes: what cannot be set is named, in an order and in letters that a terminal takes.
func TestRefusedAttributes(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	a := access{attributes: map[string]string{"user." + strings.Repeat("n", 300): "x", "user.\x1b": strings.Repeat("x", 1<<17)}, others: []string{"trusted.a"}}
	lost := a.attach(file)
	if len(lost) != 3 || lost[0] != "trusted.a" {
		t.Errorf("%q", lost)
	}
	if got := quoted(append(lost, "b", "c", "d")); strings.ContainsAny(got, "\x1b") || !strings.HasSuffix(got, "and 1 more") {
		t.Errorf("%q", got)
	}
}
