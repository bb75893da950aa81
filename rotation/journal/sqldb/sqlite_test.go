package sqldb

import (
	"cmp"
	"path/filepath"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

// open opens a journal whose claims do not end by themselves before the test does, however slow the machine is.
func open(t *testing.T, url string) *DB {
	t.Helper()
	return openWith(t, url, Options{Lease: time.Hour})
}

// patient are the limits of transactions in tests: a machine that stalls for some seconds meets none.
const patient = `; SET LOCAL lock_timeout = '10min'`

func openWith(t *testing.T, url string, o Options) *DB {
	t.Helper()
	o.Program, o.limits = "rotator-test 1.0", cmp.Or(o.limits, patient)
	db, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func TestSQLiteInMemory(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, "sqlite::memory:") })
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	journaltest.Run(t, func(t *testing.T) journal.Journal {
		return open(t, "sqlite:"+filepath.Join(t.TempDir(), "state", "rotator.db"))
	})
}

// TestReplicasThatNobodySaw: a replica that died without a word is forgotten after a day.
func TestReplicasThatNobodySaw(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, name := range []string{"dead", "old", "new"} {
		at = at.Add(time.Duration(i) * 13 * time.Hour)
		if err := db.Beat(t.Context(), at, journal.Replica{Name: name, StartedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	left, err := db.Replicas(t.Context())
	if err != nil || len(left) != 1 || left[0].Name != "new" || !left[0].SeenAt.Equal(at) {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// TestPaceAfterTheClockWasSetBack: what was reserved for a time that is far off now holds nothing up.
func TestPaceAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	b := journal.PaceBounds{Top: 10, Floor: 1, Burst: 10, Step: 1, Calm: time.Second, Wave: time.Second}
	if err := db.Slow(t.Context(), at, "team", time.Minute, b); err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		at    time.Time
		delay time.Duration
		rate  float64
	}{
		{at, time.Minute, 5},
		{at.Add(30 * time.Second), 30*time.Second + 200*time.Millisecond, 5},
		{at.Add(-2 * time.Hour), 0, 6},
		{at.Add(-2 * time.Hour), time.Second / 6, 6},
		{at.Add(2*time.Second - 2*time.Hour), 0, 7},
		{at.Add(-2*time.Minute - 2*time.Hour), 0, 8},
	} {
		delay, rate, err := db.Take(t.Context(), q.at, "team", 1, b)
		if err != nil || (delay-q.delay).Abs() > time.Millisecond || rate != q.rate {
			t.Errorf("at %v: a call after %v at %v, %v; want %v at %v", q.at, delay, rate, err, q.delay, q.rate)
		}
	}
}
