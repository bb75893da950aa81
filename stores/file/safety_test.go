package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"rotator/internal/secret"
	"rotator/stores"
)

// refused checks that nothing can be done at the target, and that the reason is the target.
func refused(t *testing.T, s *Store, target stores.Target) {
	t.Helper()
	_, err := s.Current(t.Context(), target)
	want(t, err, stores.ErrInvalid)
	want(t, s.Promote(t.Context(), target, attempt, key(), ""), stores.ErrInvalid)
	want(t, s.Check(t.Context(), target), stores.ErrInvalid)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	write(t, dir, "secret", "outside")
	write(t, inside, "file", "x")
	s := open(t, inside, nil)
	for _, path := range []string{
		"", ".", "..", "../secret", "a/../../secret", "a/..", "./file", "a//b", "/etc/hostname", "file/", "a\x00b",
		".rotator/lock", ".rotator", ".rotator-x", "a/.rotator/x", strings.Repeat("x", 256), "file/below",
	} {
		refused(t, s, stores.Target{Path: path})
	}
	for name, options := range map[string]map[string]string{
		"unknown option": {"user": "x"}, "unknown owner": {"owner": "no-such-user-here"}, "unknown group": {"group": "no-such-group-here"},
		"negative owner": {"owner": "-1"}, "decimal mode": {"mode": "rw-------"}, "mode with more": {"mode": "04755"},
		"unreadable mode": {"mode": "0200"}, "no mode": {"mode": ""},
	} {
		t.Run(name, func(t *testing.T) { refused(t, s, stores.Target{Path: "file", Options: options}) })
	}
	refused(t, open(t, filepath.Join(dir, "nowhere"), nil), stores.Target{Path: "file"})
	if _, err := os.Stat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("the store made its own folder")
	}
}

// TestSymlinks: a link anywhere below the folder is refused, and what it leads to is neither read nor written.
func TestSymlinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "inside"), filepath.Join(dir, "outside")
	write(t, outside, "key", "untouched")
	write(t, inside, "real/key", "untouched")
	for link, to := range map[string]string{
		"file": "../outside/key", "folder": "../outside", "neighbor": "real", "dangling": "../outside/new", "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(inside, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, inside, nil)
	for _, path := range []string{"file", "folder/key", "folder/new", "neighbor/key", "dangling", "loop", "loop/key"} {
		refused(t, s, stores.Target{Path: path})
		want(t, s.Discard(t.Context(), stores.Target{Path: path}, attempt), nil)
	}
	entries, _ := os.ReadDir(outside)
	text, _ := os.ReadFile(filepath.Join(outside, "key"))
	if len(entries) != 1 || string(text) != "untouched" {
		t.Errorf("outside holds %v, %q", entries, text)
	}

	linked := filepath.Join(dir, "linked")
	if err := os.Symlink("inside", linked); err != nil {
		t.Fatal(err)
	}
	want(t, open(t, linked, nil).Check(t.Context(), stores.Target{Path: "real/key"}), nil) // the folder itself may be reached by one
}

// TestPlantedFiles: what an attacker who can write in the target's folder plants under our names is removed or refused.
func TestPlantedFiles(t *testing.T) {
	t.Parallel()
	dir, target, value := t.TempDir(), stores.Target{Path: "folder/key"}, key()
	write(t, dir, "outside", "untouched")
	write(t, dir, "folder/other", "x")
	p, err := locate(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(dir, "folder", p.temp())); err != nil {
		t.Fatal(err)
	}
	want(t, open(t, dir, nil).Promote(t.Context(), target, attempt, value, ""), nil)
	if text, _ := os.ReadFile(filepath.Join(dir, "outside")); string(text) != "untouched" {
		t.Error("a planted link was written through")
	}
	consumer(t, dir, target, "end", value)

	for name, plant := range map[string]func(string) error{
		"a link": func(path string) error { return os.Symlink("elsewhere", path) },
		"a file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"an open folder": func(path string) error {
			if err := os.Mkdir(path, 0o755); err != nil {
				return err
			}
			return os.Chmod(path, 0o755) // whatever the umask
		},
	} {
		t.Run("state is "+name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "elsewhere"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := plant(filepath.Join(dir, stateFolder)); err != nil {
				t.Fatal(err)
			}
			want(t, open(t, dir, nil).Stage(t.Context(), stores.Target{Path: "key"}, attempt, key()), stores.ErrInvalid)
		})
	}
}

// TestIrregular: a target that is no file neither hangs nor is replaced.
func TestIrregular(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, nil)
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "large", strings.Repeat("x", maxSize+1))
	for _, path := range []string{"fifo", "folder", "large"} {
		refused(t, s, stores.Target{Path: path})
	}
}

// TestMounts uses the mount that every Linux has.
func TestMounts(t *testing.T) {
	t.Parallel()
	s := open(t, "/", nil)
	_, err := s.Current(t.Context(), stores.Target{Path: "proc/version"})
	want(t, err, stores.ErrInvalid)

	inside := open(t, "/proc", nil) // below a mount, files of the same mount are fine
	_, err = inside.Current(t.Context(), stores.Target{Path: "version"})
	want(t, err, nil)
}

// TestCheckMakesNoFolder: a target whose folder does not exist yet is fine, and stays a plan.
func TestCheckMakesNoFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want(t, open(t, dir, nil).Check(t.Context(), stores.Target{Path: "new/folder/key"}), nil)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != stateFolder {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// TestCheckNamesTheFieldMeant: a field that differs by case or lies deeper would be rotated where nothing reads.
func TestCheckNamesTheFieldMeant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte(`{"api_key":"x","nested":{"key":"y"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, nil)
	for field, meaning := range map[string]error{"api_key": nil, "new": nil, "": nil, "API_KEY": stores.ErrInvalid, "nested.key": stores.ErrInvalid} {
		want(t, s.Check(t.Context(), stores.Target{Path: "keys.json", Field: field}), meaning)
	}
}

// TestSharedFile: several fields of one file are promoted by several stores at once, and none is lost.
func TestSharedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	values := make([]secret.Text, 5)
	field := func(i int) stores.Target {
		return stores.Target{Path: "shared.json", Field: string(rune('a' + i))}
	}
	for i := range values {
		s := open(t, dir, nil)
		wg.Go(func() {
			for range 5 {
				next := key()
				want(t, s.Promote(t.Context(), field(i), attempt, next, values[i].Fingerprint()), nil)
				values[i] = next
			}
		})
	}
	wg.Wait()
	for i, value := range values {
		if got, err := open(t, dir, nil).Current(t.Context(), field(i)); err != nil || !got.Equal(value) {
			t.Errorf("field %d lost its value: %v", i, err)
		}
	}
}

// TestLock: a writer that waits for another process's change gives up when it is told to.
func TestLock(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), stores.Target{Path: "key"}
	first, second := open(t, dir, nil), open(t, dir, nil)
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error)
	first.before = func(step, _ string) error {
		if step == "compare" {
			close(inside)
			<-leave
		}
		return nil
	}
	value := key()
	go func() { done <- first.Promote(context.Background(), target, attempt, value, "") }()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- second.Promote(ctx, target, attempt, key(), "") }()
	want(t, second.Promote(t.Context(), stores.Target{Path: "other"}, attempt, key(), ""), nil) // others do not wait
	select {
	case err := <-result:
		t.Errorf("the second did not wait: %v", err)
	default:
	}
	cancel()
	want(t, <-result, context.Canceled)
	close(leave)
	want(t, <-done, nil)
	want(t, second.Promote(t.Context(), target, attempt, key(), ""), stores.ErrConflict)
	consumer(t, dir, target, "end", value)
}

// TestFolderOfOthers: where others may put files, nothing is written and nothing read. The error names the folder, and the
// command that closes it.
func TestFolderOfOthers(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, target := filepath.Join(top, "keys"), stores.Target{Path: "folder/key"}
	write(t, dir, "folder/key", "old")
	s := open(t, dir, nil)
	want(t, s.Check(t.Context(), target), nil)
	for _, at := range []string{top, dir, filepath.Join(dir, "folder")} {
		for _, mode := range []os.FileMode{0o777, 0o707} {
			if err := os.Chmod(at, mode); err != nil {
				t.Fatal(err)
			}
			_, err := s.Current(t.Context(), target)
			want(t, err, stores.ErrInvalid)
			if err == nil || !strings.Contains(err.Error(), "chmod go-w "+at) {
				t.Errorf("the error is %v", err)
			}
			want(t, s.Stage(t.Context(), target, attempt, key()), map[bool]error{false: stores.ErrInvalid}[at == filepath.Join(dir, "folder")])
			want(t, s.Promote(t.Context(), target, attempt, key(), ""), stores.ErrInvalid)
		}
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want(t, s.Check(t.Context(), target), nil)
	if text, _ := os.ReadFile(filepath.Join(dir, "folder/key")); string(text) != "old" {
		t.Error("it was written")
	}
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	want(t, s.Check(t.Context(), target), stores.ErrInvalid)
}

// TestFolderOfAList: an access control list may let another user write a folder of the process's own group.
func TestFolderOfAList(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), stores.Target{Path: "folder/key"}
	write(t, dir, "folder/key", "old")
	s, at := open(t, dir, nil), filepath.Join(dir, "folder")
	if err := os.Chmod(at, 0o770); err != nil {
		t.Fatal(err)
	}
	want(t, s.Check(t.Context(), target), nil)
	// linux/posix_acl_xattr.h: a version, and entries of a tag, rights and an id: owner, user 54321, group, mask, others.
	list := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0x31, 0xd4, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255}
	if err := unix.Setxattr(at, aclName, list, 0); err != nil {
		t.Fatal(err)
	}
	want(t, s.Check(t.Context(), target), stores.ErrInvalid)
	want(t, s.Promote(t.Context(), target, attempt, key(), ""), stores.ErrInvalid)
}

// TestFolderOfAPodsGroup: Kubernetes gives all that is in a volume to a pod's fsGroup, which need not be the process's own group.
// A group that may write a folder and not the one above it is refused.
func TestFolderOfAPodsGroup(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 { // only root gives folders to a group that it is not in; the rule is one of package trust too
		return
	}
	dir, target := t.TempDir(), stores.Target{Path: "folder/below/key"}
	write(t, dir, "folder/below/key", "old")
	s, group := open(t, dir, nil), 54321
	give := func(name string, mode os.FileMode) {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.Chown(at, -1, group), os.Chmod(at, mode)); err != nil {
			t.Fatal(err)
		}
	}
	give("folder/below", 0o775)
	want(t, s.Check(t.Context(), target), stores.ErrInvalid)
	give("folder", 0o775)
	want(t, s.Check(t.Context(), target), stores.ErrInvalid) // of which the top knows nothing
	for _, f := range []struct {
		mode os.FileMode
		want bool
	}{{0o775, true}, {os.ModeSticky | 0o775, false}} {
		above, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		give(".", f.mode)
		below, err := os.Open(filepath.Join(dir, "folder"))
		if err != nil {
			t.Fatal(err)
		}
		if err := closed(below, "folder", above); (err == nil) != f.want {
			t.Errorf("below a folder of mode %v: %v", f.mode, err)
		}
		if err := errors.Join(above.Close(), below.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStateFolderOfAPodsGroup: the store's own folder, which Kubernetes opened to a pod's fsGroup with all of the volume, is closed
// again. One that is open otherwise is refused.
func TestStateFolderOfAPodsGroup(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), stores.Target{Path: "key"}
	write(t, dir, "key", "old")
	s, own := open(t, dir, nil), filepath.Join(dir, stateFolder)
	for _, c := range []struct {
		top, own os.FileMode
		want     error
	}{{0o775, 0o770, nil}, {0o755, 0o770, stores.ErrInvalid}, {0o775, 0o705, stores.ErrInvalid}, {0o775, 0o775, stores.ErrInvalid}} {
		if err := errors.Join(os.MkdirAll(own, 0o700), os.Chmod(own, c.own|os.ModeSetgid), os.Chmod(dir, c.top)); err != nil {
			t.Fatal(err)
		}
		want(t, s.Check(t.Context(), target), c.want)
		if info, err := os.Stat(own); c.want == nil && (err != nil || info.Mode().Perm() != 0o700) {
			t.Errorf("its mode is %v, %v", info.Mode(), err)
		}
	}
}
