package sqldb

import (
	"testing"
	"time"

	"rotator/rotation/journal"
)

// placesAmongReplicas: a place is free once the lease of who had it is over, however it was lost, and not while that one
// renews it.
func placesAmongReplicas(t *testing.T, url string) {
	const lease = 5 * time.Second
	one, two := openWith(t, url, Options{Lease: lease}), openWith(t, url, Options{Lease: lease})
	setPolicies(t, one, "a", "b")
	claim := func(db *DB, owner, policy string) journal.Claim {
		t.Helper()
		got, err := db.Claim(t.Context(), owner, past, 1, policy)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		return got[0]
	}
	take := func(db *DB, c journal.Claim) bool {
		t.Helper()
		taken, err := db.TakePlace(t.Context(), past, c, "secret")
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	renew := func(db *DB, c journal.Claim) {
		t.Helper()
		if _, err := db.Renew(t.Context(), past, c); err != nil {
			t.Fatal(err)
		}
	}
	a, b := claim(one, "one", "a"), claim(two, "two", "b")
	if !take(one, a) {
		t.Fatal("a free place was not taken")
	}
	for range 3 { // longer than the lease that it was taken under
		renew(one, a)
		renew(two, b)
		if take(two, b) {
			t.Fatal("taken from one that lives")
		}
		time.Sleep(lease / 2)
	}
	dead := time.Now()
	for !take(two, b) { // nothing renews a
		if time.Since(dead) > lease+10*time.Second {
			t.Fatal("not free long after the lease")
		}
		renew(two, b)
		time.Sleep(lease / 20)
	}
	t.Logf("free %v after the last renewal, with a lease of %v", time.Since(dead), lease)
	again := claim(one, "one", "a")
	if take(one, again) {
		t.Fatal("the one that was taken over has the place again")
	}
	// A claim that is given up with the place in hand keeps it for as long as its lease was at most.
	if err := two.Release(t.Context(), b, past); err != nil {
		t.Fatal(err)
	}
	for freed := time.Now(); !take(one, again); time.Sleep(lease / 20) {
		if time.Since(freed) > lease+10*time.Second {
			t.Fatal("not free long after the claim was given up")
		}
		renew(one, again)
	}
}
