package sqldb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// without runs do as one who may read the folder and not write in it, be it root.
func without(t *testing.T, dir string, do func() error) {
	t.Helper()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700) //nolint:errcheck // so that it can be removed
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the rights that it gave away
		err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &[]unix.CapUserData{{}, {}}[0])
		if err == nil {
			err = do()
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestReadOnlyFolder: a journal that was closed in order is read where nothing can be written beside it; one that was not
// says what to do.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	without(t, filepath.Dir(path), func() error {
		if _, err := Open(t.Context(), url, Options{ReadOnly: true}); !errors.Is(err, ErrNoJournal) {
			return fmt.Errorf("a journal that is not there: %w", err)
		}
		return nil
	})
	db := open(t, url)
	setPolicies(t, db, "a", "b")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var reader *DB
	without(t, filepath.Dir(path), func() (err error) {
		if reader, err = Open(t.Context(), url, Options{ReadOnly: true}); err != nil {
			return err
		}
		if s, err := reader.Summaries(t.Context()); err != nil || len(s) != 2 {
			return fmt.Errorf("%d policies, %w", len(s), err)
		}
		return reader.Backup(t.Context(), copied)
	})
	if reader == nil {
		t.FailNow()
	}
	defer reader.Close() // it only looked
	if s, err := open(t, "sqlite:"+copied).Summaries(t.Context()); err != nil || len(s) != 2 {
		t.Errorf("the backup has %d policies, %v", len(s), err)
	}

	// Someone else who may write there opens it, and closes it again: nothing of what is read now counts.
	db = open(t, url)
	setPolicies(t, db, "c")
	refused := func(when string) {
		t.Helper()
		if s, err := reader.Summaries(t.Context()); err == nil {
			t.Errorf("%s: %d policies were read", when, len(s))
		}
		if err := reader.Backup(t.Context(), copied+".2"); err == nil {
			t.Errorf("%s: a backup was made", when)
		}
	}
	refused("while it is written")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	refused("after it was written")
	look := func() error {
		again, err := Open(t.Context(), url, Options{ReadOnly: true})
		if err != nil {
			return err
		}
		return again.Close()
	}
	if err := look(); err != nil { // with all rights: it leaves files behind
		t.Fatal(err)
	}
	without(t, filepath.Dir(path), look)

	if err := errors.Join(os.Remove(path+"-shm"), os.WriteFile(path+"-wal", []byte("left by a crash"), 0o600)); err != nil {
		t.Fatal(err)
	}
	without(t, filepath.Dir(path), func() error {
		if _, err := Open(t.Context(), url, Options{ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "copy both files") {
			return fmt.Errorf("a journal that was not closed: %w", err)
		}
		return nil
	})
}
