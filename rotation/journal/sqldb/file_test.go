package sqldb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"rotator/rotation/journal"
)

func newFile(t *testing.T) (path, url string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "state", "rotator.db")
	return path, "sqlite:" + path
}

func setPolicies(t *testing.T, db *DB, names ...string) {
	t.Helper()
	var specs []journal.Spec
	for _, n := range names {
		specs = append(specs, journal.Spec{Name: n, Team: "research", Canonical: "{}"})
	}
	if err := db.SetPolicies(t.Context(), time.Now(), specs); err != nil {
		t.Fatal(err)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	db := open(t, url)
	_, err := Open(t.Context(), url, Options{})
	if !errors.Is(err, journal.ErrInUse) {
		t.Fatalf("a second open: %v", err)
	}
	host, _ := os.Hostname()
	for _, want := range []string{fmt.Sprintf("pid %d on %s, since ", os.Getpid(), host), "rotator-test 1.0", ".db.lock"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, url)
}

func TestFilesAreOurs(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	setPolicies(t, open(t, url), "a")
	for _, name := range []string{path, path + ".lock", path + "-wal", path + "-shm"} {
		if i, err := os.Stat(name); err != nil || i.Mode() != 0o600 {
			t.Errorf("%s: %v %v, want 0600", name, i.Mode(), err)
		}
	}
	if i, err := os.Stat(filepath.Dir(path)); err != nil || i.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v %v, want 0700", i.Mode(), err)
	}
}

// TestFilesOfTheFoldersOwner: the service can open what a command of root's began in its folder.
func TestFilesOfTheFoldersOwner(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	dir, owner, group := filepath.Dir(path), os.Getuid(), os.Getgid()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if owner == 0 {
		owner, group = 65534, 65533
		if err := os.Chown(dir, owner, group); err != nil {
			t.Fatal(err)
		}
	}
	setPolicies(t, open(t, url), "a")
	for _, name := range []string{path, path + ".lock", path + "-wal", path + "-shm"} {
		var s unix.Stat_t
		if err := unix.Stat(name, &s); err != nil || int(s.Uid) != owner || int(s.Gid) != group {
			t.Errorf("%s is of %d:%d (%v), want %d:%d", name, s.Uid, s.Gid, err, owner, group)
		}
	}
}

// TestFolderOfOthers: a journal is not begun, and not opened to write, where others may replace it; nor is it backed up there.
// A backup in a folder such as /tmp is.
func TestFolderOfOthers(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	dir := filepath.Dir(path)
	db := open(t, url)
	closed(t, db)
	for _, mode := range []os.FileMode{0o777, 0o707, os.ModeSticky | 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{url, "sqlite:" + filepath.Join(dir, "other.db"), "sqlite:" + filepath.Join(dir, "below", "other.db")} {
			below := strings.Contains(at, "below") && mode&os.ModeSticky != 0 // a folder of ours, in one as /tmp is
			db, err := Open(t.Context(), at, Options{})
			if (err == nil) != below || err != nil && !strings.Contains(err.Error(), "others may replace the journal: "+dir+" may be written by") {
				t.Errorf("mode %v, %s: %v", mode, at, err)
			}
			if err == nil {
				closed(t, db)
			}
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db = open(t, url)
	for mode, want := range map[os.FileMode]bool{0o755: true, 0o777: false, os.ModeSticky | 0o777: true} {
		folder := filepath.Join(t.TempDir(), "backups")
		if err := errors.Join(os.Mkdir(folder, 0o700), os.Chmod(folder, mode)); err != nil {
			t.Fatal(err)
		}
		if err := db.Backup(t.Context(), filepath.Join(folder, "copy.db")); (err == nil) != want {
			t.Errorf("a backup in a folder with mode %v: %v", mode, err)
		}
	}
}

func TestSettingsOfTheWriter(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	db := open(t, url)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "journal_size_limit": "8388608"} {
		var got string
		err := db.engine.(*sqliteDB).group.s.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got)
		if err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
}

func TestRemoteDisksAreRefused(t *testing.T) {
	t.Parallel()
	for magic, name := range remoteDisks {
		if err := refuseRemote("/srv", magic); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, magic := range map[string]uint32{"ext4": unix.EXT4_SUPER_MAGIC, "xfs": unix.XFS_SUPER_MAGIC,
		"btrfs": unix.BTRFS_SUPER_MAGIC, "overlay": unix.OVERLAYFS_SUPER_MAGIC, "tmpfs": unix.TMPFS_MAGIC} {
		if err := refuseRemote("/srv", magic); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnknownJournals(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "sqlite:", "mysql://x", "/var/lib/rotator.db"} {
		if db, err := Open(t.Context(), url, Options{}); err == nil {
			t.Errorf("%q was opened", url)
			_ = db.Close()
		}
	}
	folder := t.TempDir()
	if _, err := Open(t.Context(), "sqlite:"+folder, Options{}); err == nil {
		t.Error("a folder was opened as a journal")
	}
	garbage := filepath.Join(folder, "garbage")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite:"+garbage, Options{}); err == nil {
		t.Error("garbage was opened as a journal")
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	if _, err := Open(t.Context(), url, Options{ReadOnly: true}); !errors.Is(err, ErrNoJournal) {
		t.Fatalf("a journal that is not there: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("looking made a file: %v", err)
	}
	look := func(names int) {
		t.Helper()
		reader, err := Open(t.Context(), url, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		s, err := reader.Summaries(t.Context())
		if err != nil || len(s) != names {
			t.Errorf("%d policies, %v; want %d", len(s), err, names)
		}
		if err := reader.SetMeta(t.Context(), "a", "b"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a write: %v", err)
		}
	}
	db := open(t, url)
	setPolicies(t, db, "a", "b")
	look(2) // beside the one that has it
	setPolicies(t, db, "a", "b", "c")
	look(3)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	look(3) // and alone
	open(t, url)
}

// closed wants a closed journal to say so, whoever asks.
func closed(t *testing.T, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Summaries(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a read: %v", err)
	}
	if err := db.SetMeta(t.Context(), "a", "b"); !errors.Is(err, ErrClosed) {
		t.Errorf("a write: %v", err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	closed(t, open(t, url))
	closed(t, open(t, "sqlite::memory:"))
}

// TestNothingRunsOn is not parallel: it counts goroutines.
func TestNothingRunsOn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	_, url := newFile(t)
	for _, url := range []string{url, "sqlite::memory:"} {
		db, err := Open(t.Context(), url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		setPolicies(t, db, "a")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClaimsOfTheDeadEnd(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	db := open(t, url)
	setPolicies(t, db, "a")
	old, err := db.Claim(t.Context(), "before", time.Now(), 1)
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, url)
	fresh, err := db.Claim(t.Context(), "after", time.Now(), 1)
	if err != nil || len(fresh) != 1 {
		t.Fatal(fresh, err)
	}
	if err := db.Release(t.Context(), old[0], time.Now()); !errors.Is(err, journal.ErrLost) {
		t.Errorf("the dead one's release: %v", err)
	}
	if fresh[0].Epoch <= old[0].Epoch+1 {
		t.Errorf("epoch %d after %d", fresh[0].Epoch, old[0].Epoch)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	db := open(t, url)
	setPolicies(t, db, "a", "b")
	copied := filepath.Join(filepath.Dir(path), "copy.db")
	// Others write meanwhile.
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := db.Record(t.Context(), journal.Event{Kind: journal.Failed}, journal.Event{Kind: journal.Recovered}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	err := db.Backup(t.Context(), copied)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), copied); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a backup over a backup: %v", err)
	}
	if i, err := os.Stat(copied); err != nil || i.Mode() != 0o600 {
		t.Errorf("the copy: %v %v", i.Mode(), err)
	}
	if left, _ := filepath.Glob(copied + ".part*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if v, err := db.Meta(t.Context(), journal.MetaRestored); v != "" || err != nil {
		t.Errorf("the journal itself is marked %q, %v", v, err)
	}
	noted, err := db.Meta(t.Context(), journal.MetaBackup)
	if at, wrong := time.Parse(time.RFC3339, noted); err != nil || wrong != nil || time.Since(at) > time.Minute {
		t.Errorf("the journal was backed up at %q, %v", noted, err)
	}
	restored := open(t, "sqlite:"+copied)
	if v, err := restored.Meta(t.Context(), journal.MetaBackup); v != noted || err != nil {
		t.Errorf("the copy was made at %q, %v; want %q", v, err, noted)
	}
	mark, err := restored.Meta(t.Context(), journal.MetaRestored)
	if mark == "" || err != nil {
		t.Errorf("the copy is marked %q, %v", mark, err)
	}
	// What was matched after one restore is not after another.
	if err := restored.Backup(t.Context(), copied+".2"); err != nil {
		t.Error(err)
	}
	if v, err := open(t, "sqlite:"+copied+".2").Meta(t.Context(), journal.MetaRestored); v == mark || err != nil {
		t.Errorf("the copy's copy is marked %q too, %v", v, err)
	}
	if s, err := restored.Summaries(t.Context()); len(s) != 2 || err != nil {
		t.Errorf("the copy has %d policies, %v", len(s), err)
	}
	if e, err := restored.Events(t.Context(), 0, 0); len(e)%2 != 0 || err != nil {
		t.Errorf("the copy has half a transaction: %d events, %v", len(e), err)
	}
	if err := db.Backup(t.Context(), filepath.Join(filepath.Dir(path), "missing", "copy.db")); err == nil {
		t.Error("a backup into a folder that is not there")
	}
}

// A process whose files were taken away does nothing more: what it wrote would be lost, and another process could start over.
func TestMovedFileIsNoticed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rotator.db", "rotator.db.lock"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, url := newFile(t)
			db := open(t, url)
			setPolicies(t, db, "chat")
			path = filepath.Join(filepath.Dir(path), name)
			work := func() []error {
				_, claim := db.Claim(t.Context(), "me", time.Now(), 1)
				_, _, next := db.Next(t.Context())
				return []error{claim, next, db.SetPolicies(t.Context(), time.Now(), nil)}
			}
			for _, away := range []func() error{
				func() error { return os.Rename(path, path+".away") },
				func() error { return os.WriteFile(path, nil, 0o600) }, // and another put in its place
			} {
				if err := away(); err != nil {
					t.Fatal(err)
				}
				for i, err := range work() {
					if !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), path) {
						t.Errorf("call %d: %v", i, err)
					}
				}
			}
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(work()...); err != nil {
				t.Errorf("the same file is back: %v", err)
			}
		})
	}
}
