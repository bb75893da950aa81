package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// TestJournalLost: the binary is killed at random instants, and its journal is gone; it begins with an empty one, and a
// human agrees to what `keys adopt` proposes. No consumer notices, no key is left over, nothing stays staged.
func TestJournalLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	found := make(map[string]int) // what keys were adopted as → how many
	for range rounds(1, 3, 50) {
		d := f.start(t)
		eventually(t, "every policy has a key", func() bool { return f.served(t) })
		time.Sleep(f.between(0, 3*time.Second)) // the instant is what is random
		d.kill()
		f.lose(t)
		d = f.start(t)
		f.adopt(t, found)
		d.kill() // what was agreed to is in the journal
	}
	f.schedule(t, "@every 720h")
	d := f.start(t)
	f.adopt(t, found)
	d.terminate(t)
	f.settle(t)
	t.Logf("keys found: %v", found)
	if found["current"]+found["predecessor"] == 0 {
		t.Error("the test lost next to nothing")
	}
}

// lose removes the journal.
func (f *fleet) lose(t testing.TB) {
	t.Helper()
	files, err := filepath.Glob(f.path("rotator.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no journal to lose (%v)", err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// served reports whether the journal names a key in use for every policy.
func (f *fleet) served(t testing.TB) bool {
	rows, err := f.client().Status(t.Context())
	if err != nil || len(rows) != len(f.names) {
		return false
	}
	for _, r := range rows {
		if r.KeyID == nil {
			return false
		}
	}
	return true
}

// adopt has the command adopt what it proposes until nothing is left, and counts what was found, at each look. Targets that a promote left halfway are a human's
// to resolve: the file is overwritten.
func (f *fleet) adopt(t testing.TB, found map[string]int) {
	t.Helper()
	client, resolved := f.client(), false
	eventually(t, "all is adopted", func() bool {
		rows, err := client.Adoptions(t.Context())
		if err != nil {
			return false
		}
		for _, r := range rows {
			found[r.As]++
			if !resolved && strings.Contains(r.Why, "different live keys") {
				_, err := client.Place(t.Context(), api.OrderRequest{
					Policy: *r.Policy, Kind: string(journal.OrderResolve), Decision: string(journal.Overwrite),
					Target: &api.TargetRow{Store: "local", Path: "both"}, By: "tester",
				})
				resolved = err == nil
			}
		}
		if len(rows) == 0 {
			return f.served(t)
		}
		command := launch(t, f.path("log"), nil, "keys", "adopt", "--yes", "--config", f.path("rotator.yaml"))
		<-command.ended
		return false
	})
}
