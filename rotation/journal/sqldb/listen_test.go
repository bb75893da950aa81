package sqldb

import (
	"context"
	"errors"
	"testing"

	"rotator/rotation/journal"
)

// wakesAmongReplicas: who listens hears what is said through another replica, also after his session was lost, and
// leaves nothing behind.
func wakesAmongReplicas(t *testing.T, url string) {
	here, there := open(t, url), open(t, url)
	pool := here.engine.(*postgresDB).pool
	listeners := func() (n int) {
		// The last statement of a session that listens is that.
		if err := pool.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := make(chan struct{}, 100), make(chan error)
	go func() { ended <- there.Wakes(ctx, func() { woken <- struct{}{} }) }()
	<-woken // it listens
	speak := map[string]func() error{
		"a new policy": func() error { return here.SetPolicies(t.Context(), past, []journal.Spec{{Name: "a"}}) },
		"an order": func() error {
			_, err := here.Place(t.Context(), journal.Order{Policy: "a", Kind: journal.OrderAbort})
			return err
		},
		"a hold": func() error {
			return here.SetHold(t.Context(), past, "a", journal.Hold{Reason: "x"}, journal.Event{Kind: journal.HoldSet})
		},
	}
	for _, what := range []string{"a new policy", "an order", "a hold"} {
		if err := speak[what](); err != nil {
			t.Fatal(err)
		}
		<-woken
	}
	var gone bool
	if err := pool.QueryRowContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&gone); err != nil || !gone {
		t.Fatal(gone, err)
	}
	<-woken // it listens again
	if err := speak["an order"](); err != nil {
		t.Fatal(err)
	}
	<-woken
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	soon(t, "no session listens", func() bool { return listeners() == 0 })
}
