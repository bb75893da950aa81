package xaisim_test

import (
	"testing"
	"time"

	"rotator/xai/xaisim"
)

// A copy is what its original was, and neither changes with the other.
func TestCopy(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s := xaisim.New(xaisim.Options{Now: clock})
	id, value := s.AddKey("team-1", "one", "api-key:model:*")
	c := s.Copy(clock)
	if got := c.Keys("team-1"); len(got) != 1 || got[0].ID != id || !c.Accepts(value) {
		t.Fatalf("the copy has %v", got)
	}
	c.DisableKey(id)
	if !s.Accepts(value) || c.Accepts(value) {
		t.Error("a change of the copy is not the copy's alone")
	}
	_, a := s.AddKey("team-1", "two")
	_, b := c.AddKey("team-1", "two")
	if !a.Equal(b) {
		t.Error("what is random differs")
	}
}
