package sqldb

import (
	"crypto/rand"
	"database/sql"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
)

// TestWriteAheadLogIsBounded: while another process reads an old state of the journal, its write-ahead log grows, which is told
// once when it lasts; it is cut back when the reader is gone, and stays short without one.
func TestWriteAheadLogIsBounded(t *testing.T) {
	t.Parallel()
	path, url := newFile(t)
	var log lines
	db := openWith(t, url, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	e := db.engine.(*sqliteDB)
	k := e.wal
	k.stop() // this test looks itself
	<-k.ended
	write := func(megabytes int) {
		t.Helper()
		for i := range megabytes { // a page that stays the same is not written
			if err := db.SetMeta(t.Context(), "large", strings.Repeat(string(rune('a'+i%26)), 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
	}
	size := func() int64 {
		t.Helper()
		n, err := sizeOf(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	look := func() {
		k.look(t.Context(), now)
		now = now.Add(walEvery)
	}

	write(40)
	look()
	if n := size(); n > walKept+2<<20 {
		t.Errorf("without a reader it has %d bytes", n)
	}

	other, err := sql.Open("sqlite", e.dsn(looking))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }() // only read
	reader, err := newSession(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.close() }() // only read
	if err := reader.begin("DEFERRED"); err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := one(t.Context(), reader, []any{&n}, `SELECT count(*) FROM meta`); err != nil {
		t.Fatal(err)
	}
	write(40)
	for range 6 {
		look()
	}
	if size() < walTold {
		t.Fatalf("a reader does not hold it: it has %d bytes", size())
	}
	if told := strings.Count(log.String(), "write-ahead log grows"); told != 1 || !strings.Contains(log.String(), path+"-wal") {
		t.Errorf("told %d times:\n%s", told, log.String())
	}
	file, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Size(t.Context()); err != nil || got != file.Size()+size() {
		t.Errorf("the journal takes %d bytes, %v; want %d", got, err, file.Size()+size())
	}

	reader.rollback()
	look()
	if n := size(); n > walKept {
		t.Errorf("after the reader it has %d bytes", n)
	}
	look()
	if again := strings.Count(log.String(), "short again"); again != 1 {
		t.Errorf("told %d times that it is short again:\n%s", again, log.String())
	}
	if _, err := db.Meta(t.Context(), "large"); err != nil {
		t.Error(err)
	}
}

// TestCutWhileOthersWrite: a commit is not held up, and a log that is being written is cut at another time.
func TestCutWhileOthersWrite(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	db := open(t, url)
	k := db.engine.(*sqliteDB).wal
	k.stop()
	<-k.ended
	done := make(chan error)
	go func() {
		for i := range 60 {
			if err := db.SetMeta(t.Context(), "large", strings.Repeat(string(rune('a'+i%26)), 1<<20)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			k.look(t.Context(), time.Now())
		}
	}
}

// TestSize: a journal in memory and one in PostgreSQL say what they take, the latter without what others keep beside it.
func TestSize(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	address := server.Database(t)
	for _, url := range []string{"sqlite::memory:", address} {
		db := open(t, url)
		before, err := db.Size(t.Context())
		if err != nil || before < 50_000 {
			t.Errorf("%d bytes, %v", before, err)
		}
		if err := db.SetMeta(t.Context(), "random", strings.Repeat(rand.Text(), 1<<16)); err != nil {
			t.Fatal(err)
		}
		if after, err := db.Size(t.Context()); err != nil || after <= before {
			t.Errorf("%d bytes before, %d after, %v", before, after, err)
		}
	}
}
