package sqldb

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotator/rotation/journal"
)

// TestCrash kills a process in the middle of a storm of commits, and finds what it said was written, whole.
func TestCrash(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	child := exec.Command(os.Args[0], "-test.run=^TestChildStorm$", "-test.v")
	child.Env = append(os.Environ(), "ROTATOR_TEST_STORM="+url)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(map[string]bool) // rotations that the child said were written
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "written "); ok {
			told[id] = true
		}
		if len(told) == 400 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(told) < 400 {
		t.Fatalf("the child ended by itself after %d: %v", len(told), err)
	}
	db := open(t, url)
	all, err := db.Rotations(t.Context(), "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	ofRotation := make(map[string]int) // rotation → its events
	for last := int64(0); ; {
		page, err := db.Events(t.Context(), last, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			ofRotation[e.Rotation]++
			last = e.ID
		}
	}
	for _, r := range all {
		delete(told, r.ID)
		if ofRotation[r.ID] != 2 {
			t.Errorf("rotation %s has %d events", r.ID, ofRotation[r.ID])
		}
		delete(ofRotation, r.ID)
	}
	if len(told) > 0 || len(ofRotation) > 0 {
		t.Errorf("%d commits were lost, %d have only their events", len(told), len(ofRotation))
	}
	var verdict string
	err = db.read(t.Context(), func(ctx context.Context, tx tx) error {
		_, err := one(ctx, tx, []any{&verdict}, `PRAGMA integrity_check`)
		return err
	})
	if verdict != "ok" || err != nil {
		t.Errorf("integrity: %s, %v", verdict, err)
	}
}

// TestChildStorm is the child of TestCrash: it commits without end, and says what was written.
func TestChildStorm(t *testing.T) {
	url := os.Getenv("ROTATOR_TEST_STORM")
	if url == "" {
		return // the parent's part is TestCrash
	}
	db := open(t, url)
	var names []string
	for i := range 16 {
		names = append(names, fmt.Sprint("policy-", i))
	}
	setPolicies(t, db, names...)
	claimed, err := db.Claim(t.Context(), "child", time.Now(), len(names))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, c := range claimed {
		wg.Go(func() {
			rec, err := db.Load(t.Context(), c.Policy)
			for i := 0; err == nil; i++ {
				r := journal.Rotation{ID: fmt.Sprint(c.Policy, "/", i), Policy: c.Policy, State: journal.Aborted, EndedAt: time.Now()}
				rec.Ended = []journal.Rotation{r}
				e := journal.Event{Kind: journal.Started, Policy: c.Policy, Rotation: r.ID}
				if err = db.Commit(t.Context(), c, rec, false, e, e); err == nil {
					fmt.Printf("written %s\n", r.ID)
				}
			}
			t.Error(err)
		})
	}
	wg.Wait()
}

// TestDiskFull fills the disk, as far as a process can do that to itself: by its own limit on a file's size.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestChildDiskFull$", "-test.v")
	child.Env = append(os.Environ(), "ROTATOR_TEST_FULL="+url)
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "it was full and recovered") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestChildDiskFull is the child of TestDiskFull.
func TestChildDiskFull(t *testing.T) {
	url := os.Getenv("ROTATOR_TEST_FULL")
	if url == "" {
		return // the parent's part is TestDiskFull
	}
	db := open(t, url)
	setPolicies(t, db, "a")
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		t.Helper()
		l := syscall.Rlimit{Cur: bytes, Max: was.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	full := make(map[string]string)
	for i := range 100 {
		full[fmt.Sprint(i)] = strings.Repeat("x", 100)
	}
	// A write beyond the limit is refused by the kernel, as on a full disk.
	limit(1 << 20)
	written, failed := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 40 {
				err := db.Record(t.Context(), journal.Event{Kind: journal.Failed, Data: full})
				mu.Lock()
				if err == nil {
					written++
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == 0 || written == 0 {
		t.Fatalf("%d written, %d failed", written, failed)
	}
	if _, err := db.Load(t.Context(), "a"); err != nil {
		t.Errorf("it cannot be read: %v", err)
	}
	limit(was.Cur)
	if err := db.Record(t.Context(), journal.Event{Kind: journal.Recovered}); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	events, err := db.Events(t.Context(), 0, 0)
	if err != nil || len(events) != written+2 { // one tells of the policy
		t.Fatalf("%d events, want %d: %v", len(events), written+2, err)
	}
	fmt.Println("it was full and recovered")
}
