package sqldb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"rotator/rotation/journal"
)

// damagedJournal is a journal of many pages, closed, the last of which are overwritten.
func damagedJournal(t *testing.T) (url string) {
	t.Helper()
	path, url := newFile(t)
	db := open(t, url)
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("policy-%d", i))
	}
	setPolicies(t, db, names...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(whole[len(whole)*3/4:], bytes.Repeat([]byte("noise"), len(whole)))
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestDamageIsMetBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	if db, err := Open(t.Context(), damagedJournal(t), Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
		if err == nil {
			_ = db.Close()
		}
	}
}

// TestDamageIsRemembered: after the first damage that is met nothing is read or written any more, also where that would go.
func TestDamageIsRemembered(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), damagedJournal(t), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err) // who only looks is told what can be read
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Summaries(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Fatalf("no damage was met: %v", err)
	}
	if _, err := db.Meta(t.Context(), journal.MetaRestored); !errors.Is(err, ErrDamaged) {
		t.Errorf("a part that is whole: %v", err)
	}

	_, url := newFile(t)
	db = open(t, url)
	setPolicies(t, db, "chat")
	_ = db.engine.(*sqliteDB).noted(ErrDamaged)
	_, claim := db.Claim(t.Context(), "me", time.Now(), 1)
	_, _, next := db.Next(t.Context())
	for _, err := range []error{claim, next, db.SetPolicies(t.Context(), time.Now(), nil)} {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("after the damage: %v", err)
		}
	}
}
