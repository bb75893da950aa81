package file

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rotator/stores"
)

// ordinary runs fn with the rights of an ordinary user: as it is, or, when the tests run as root, on a thread whose
// effective user is nobody. dir and what is in it is given to that user.
func ordinary(t *testing.T, dir string, fn func()) {
	t.Helper()
	if unix.Geteuid() != 0 {
		fn()
		return
	}
	const nobody, keep = 65534, ^uintptr(0)
	for _, path := range []string{dir, filepath.Dir(dir)} { // the test's own two folders
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // the raw calls change this thread alone
	defer runtime.UnlockOSThread()
	set := func(call, id uintptr) {
		if _, _, errno := syscall.RawSyscall(call, keep, id, keep); errno != 0 {
			panic(errno) // never go on with the wrong rights
		}
	}
	set(unix.SYS_SETRESGID, nobody) // while there is still the right to
	defer set(unix.SYS_SETRESGID, 0)
	set(unix.SYS_SETRESUID, nobody)
	defer set(unix.SYS_SETRESUID, 0)
	fn()
}

// mode and owner of a file.
func status(t *testing.T, path string) (mode os.FileMode, uid, gid int) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm(), int(stat.Uid), int(stat.Gid)
}

func TestMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ordinary(t, dir, func() {
		s := open(t, dir, nil)
		for _, tc := range []struct {
			name string
			old  os.FileMode // 0: no file
			mode string      // the option
			want os.FileMode
		}{
			{"new", 0, "", 0o600}, {"new with mode", 0, "0644", 0o644}, {"kept", 0o640, "", 0o640}, {"kept read-only", 0o444, "", 0o444},
			{"set", 0o600, "440", 0o440}, {"set to less", 0o666, "0400", 0o400},
		} {
			path := filepath.Join(dir, tc.name)
			old, value := key(), key()
			target := stores.Target{Path: tc.name}
			if tc.mode != "" {
				target.Options = map[string]string{"mode": tc.mode}
			}
			expected := old.Fingerprint()
			if tc.old == 0 {
				expected = ""
			} else {
				write(t, dir, tc.name, old.Reveal())
				if err := os.Chmod(path, tc.old); err != nil {
					t.Fatal(err)
				}
			}
			want(t, s.Check(t.Context(), target), nil)
			want(t, s.Promote(t.Context(), target, attempt, value, expected), nil)
			if mode, _, _ := status(t, path); mode != tc.want {
				t.Errorf("%s: mode %v, want %v", tc.name, mode, tc.want)
			}
		}
		want(t, s.Stage(t.Context(), stores.Target{Path: "a/b"}, attempt, key()), nil)
		for path, want := range map[string]os.FileMode{stateFolder: 0o700, stateFolder + "/lock": 0o600} {
			if mode, _, _ := status(t, filepath.Join(dir, path)); mode != want {
				t.Errorf("%s: mode %v, want %v", path, mode, want)
			}
		}
	})
}

// TestOwner: the owner and group of a file are kept, or set by name or number, by whoever may.
func TestOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, old, value := open(t, dir, nil), key(), key()
	uid, gid := unix.Getuid(), unix.Getgid()
	options := map[string]string{"owner": strconv.Itoa(uid), "group": strconv.Itoa(gid)}
	if uid == 0 {
		uid, gid = 12345, 23456
		options = map[string]string{"owner": "12345", "group": "23456"}
	}
	write(t, dir, "kept", old.Reveal())
	if err := os.Chown(filepath.Join(dir, "kept"), uid, gid); err != nil {
		t.Fatal(err)
	}
	want(t, s.Promote(t.Context(), stores.Target{Path: "kept"}, attempt, value, old.Fingerprint()), nil)
	want(t, s.Promote(t.Context(), stores.Target{Path: "set", Options: options}, attempt, value, ""), nil)
	for _, name := range []string{"kept", "set"} {
		if _, u, g := status(t, filepath.Join(dir, name)); u != uid || g != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, u, g, uid, gid)
		}
	}
	root, err := parseAccess(map[string]string{"owner": "root", "group": "root"})
	if err != nil || root.uid != 0 || root.gid != 0 {
		t.Errorf("root is %+v, %v", root, err)
	}
}

// TestRootForOthers: what root does in the folder of a daemon's user leaves the daemon able to go on.
func TestRootForOthers(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), stores.Target{Path: "key"}
	first, second := key(), key()
	ordinary(t, dir, func() { want(t, open(t, dir, nil).Promote(t.Context(), target, attempt, first, ""), nil) })
	if err := os.RemoveAll(filepath.Join(dir, stateFolder)); err != nil { // so that this user makes it
		t.Fatal(err)
	}
	want(t, open(t, dir, nil).Promote(t.Context(), target, attempt, second, first.Fingerprint()), nil)
	want(t, open(t, dir, nil).Stage(t.Context(), target, attempt, first), nil)
	ordinary(t, dir, func() {
		s := open(t, dir, nil)
		_, err := s.Staged(t.Context(), target, attempt)
		want(t, err, nil)
		_, err = s.Previous(t.Context(), target, first.Fingerprint())
		want(t, err, nil)
		want(t, s.Promote(t.Context(), target, attempt, first, second.Fingerprint()), nil)
		want(t, s.Discard(t.Context(), target, attempt), nil)
	})
}

// TestDenied: what an ordinary user may not do is said by Check, and changes nothing.
func TestDenied(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, dir string) map[string]string{
		"read-only folder": func(t *testing.T, dir string) map[string]string {
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "folder"), 0o755) })
			if err := os.Chmod(filepath.Join(dir, "folder"), 0o555); err != nil {
				t.Fatal(err)
			}
			return nil
		},
		"closed folder": func(t *testing.T, dir string) map[string]string {
			t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "folder"), 0o755) })
			if err := os.Chmod(filepath.Join(dir, "folder"), 0); err != nil {
				t.Fatal(err)
			}
			return nil
		},
		"another owner wanted": func(*testing.T, string) map[string]string { return map[string]string{"owner": "root"} },
		"another group wanted": func(*testing.T, string) map[string]string { return map[string]string{"group": "12345"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, old := t.TempDir(), key()
			ordinary(t, dir, func() {
				write(t, dir, "folder/key", old.Reveal())
				target := stores.Target{Path: "folder/key", Options: prepare(t, dir)}
				s := open(t, dir, nil)
				want(t, s.Check(t.Context(), target), stores.ErrDenied)
				want(t, s.Promote(t.Context(), target, attempt, key(), old.Fingerprint()), stores.ErrDenied)
			})
			if err := os.Chmod(filepath.Join(dir, "folder"), 0o755); err != nil {
				t.Fatal(err)
			}
			consumer(t, dir, stores.Target{Path: "folder/key"}, "end", old)
			if left := leftovers(t, dir, stores.Target{Path: "folder/key"}); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestMayReplace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mode               uint32
		self, folder, file int
		want               bool
	}{
		{0o777, 5, 1, 2, true}, {0o1777, 5, 1, 2, false}, {0o1777, 5, 5, 2, true}, {0o1777, 5, 1, 5, true}, {0o1777, 0, 1, 2, true},
	} {
		if got := mayReplace(tc.mode, tc.self, tc.folder, tc.file); got != tc.want {
			t.Errorf("mayReplace(%#o, %d, %d, %d) = %v", tc.mode, tc.self, tc.folder, tc.file, got)
		}
	}
}

// TestACL: a consumer that was let in by an access control list stays in.
func TestACL(t *testing.T) {
	t.Parallel()
	dir, old, value := t.TempDir(), key(), key()
	write(t, dir, "key", old.Reveal())
	// Version 2, then tag, rights and id of each entry: owner rw, user 12345 r, group none, mask r, others none.
	acl := []byte{
		2, 0, 0, 0,
		0x01, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
		0x02, 0, 4, 0, 0x39, 0x30, 0, 0,
		0x04, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
		0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
		0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
	}
	path := filepath.Join(dir, "key")
	if err := unix.Setxattr(path, aclName, acl, 0); err != nil {
		t.Logf("this file system has no access control lists: %v", err)
		acl = nil
	}
	want(t, open(t, dir, nil).Promote(t.Context(), stores.Target{Path: "key"}, attempt, value, old.Fingerprint()), nil)
	buf := make([]byte, 1024)
	n, err := unix.Getxattr(path, aclName, buf)
	if acl != nil && (err != nil || string(buf[:n]) != string(acl)) {
		t.Errorf("the list is %x, %v", buf[:max(n, 0)], err)
	}
	consumer(t, dir, stores.Target{Path: "key"}, "end", value)
}

// TestLabel: a consumer whom SELinux lets in by the file's label stays in. The test sets the label that the kernel would
// give to the new file, which takes root. Where new files get none, an old label is a relic.
func TestLabel(t *testing.T) {
	t.Parallel()
	const theirs, byDefault = "system_u:object_r:httpd_config_t:s0\x00", "system_u:object_r:var_lib_t:s0\x00"
	for kernel, label := range map[string]string{"gives labels": theirs, "gives none": ""} {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			dir, old, value := t.TempDir(), key(), key()
			write(t, dir, "key", old.Reveal())
			path := filepath.Join(dir, "key")
			if err := unix.Setxattr(path, labelName, []byte(theirs), 0); err != nil {
				t.Logf("labels cannot be set here: %v", err)
				label = ""
			}
			s := open(t, dir, nil)
			s.before = func(step, _ string) error {
				made, err := filepath.Glob(filepath.Join(dir, ".rotator-*.tmp"))
				if step == "access" && label != "" && len(made) > 0 {
					err = unix.Setxattr(made[0], labelName, []byte(byDefault), 0)
				}
				return err
			}
			want(t, s.Promote(t.Context(), stores.Target{Path: "key"}, attempt, value, old.Fingerprint()), nil)
			buf := make([]byte, 1024)
			n, _ := unix.Getxattr(path, labelName, buf)
			if got := string(buf[:max(n, 0)]); got != label {
				t.Errorf("the label is %q, want %q", got, label)
			}
			consumer(t, dir, stores.Target{Path: "key"}, "end", value)
		})
	}
}
