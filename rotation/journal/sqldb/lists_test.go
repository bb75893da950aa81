package sqldb

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"rotator/rotation/journal"
)

func TestPruneEffects(t *testing.T) {
	t.Parallel()
	_, url := newFile(t)
	pruning(t, url)
}

// pruning: effects that were closed more than 30 days ago go; all others stay, however old, and so do events.
func pruning(t *testing.T, url string) {
	db := open(t, url)
	setPolicies(t, db, "a")
	now := time.Now()
	claims, err := db.Claim(t.Context(), "me", time.Now(), 1)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	c := claims[0]
	rec, err := db.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, closed := range []time.Duration{0, 29, 31, 400} {
		e := journal.Effect{ID: fmt.Sprint(int(closed)), Policy: "a", Key: "f", Kind: journal.EffectDelete, State: journal.EffectUnknown,
			At: now.AddDate(-2, 0, 0), QuietAt: now.AddDate(-2, 0, 0)}
		if closed > 0 {
			e.State, e.ClosedAt = journal.EffectSettled, now.Add(-closed*24*time.Hour)
		}
		rec.Effects = append(rec.Effects, e)
	}
	old := journal.Event{At: now.AddDate(-2, 0, 0), Kind: journal.KeyDeleted, Policy: "a"}
	if err := db.Commit(t.Context(), c, rec, true, old); err != nil {
		t.Fatal(err)
	}
	if err := db.PruneEffects(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	left, err := rows(t.Context(), db, effects, "")
	var ids []string
	for _, e := range left {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	if want := []string{"0", "29"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("left are %v, %v; want %v", ids, err, want)
	}
	if events, err := db.Events(t.Context(), 0, 0); err != nil || len(events) != 2 || events[0].Kind != journal.PolicyAdded {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestListWithoutNewsWritesNothing: teams are listed every few minutes, and hardly ever something is new.
func TestListWithoutNewsWritesNothing(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	setPolicies(t, db, "a")
	wakes := func() (n int) {
		err := db.ask(t.Context(), func(ctx context.Context, q tx) error {
			_, err := one(ctx, q, []any{&n}, `SELECT wake_seq FROM policies`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	claims, err := db.Claim(t.Context(), "me", time.Now(), 1)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	c := claims[0]
	rec, err := db.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	rec.Keys = []journal.Key{{Ref: "f", ID: "k", Policy: "a", Team: "research", Origin: journal.OfAdoption, State: journal.LiveKey, ExposedAt: at}}
	if err := db.Commit(t.Context(), c, rec, true); err != nil {
		t.Fatal(err)
	}
	// Finer than what is kept, and of this machine's zone.
	listed := []journal.ListedKey{{ID: "k", UserID: "u", ExpiresAt: at.Add(time.Hour + 1)}}
	for range 3 {
		if err := db.SaveList(t.Context(), at, "research", listed); err != nil {
			t.Fatal(err)
		}
	}
	if n := wakes(); n != 1 {
		t.Errorf("woken %d times, want once", n)
	}
}
