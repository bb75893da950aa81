package rotation

import (
	"fmt"
	"testing"

	"rotator/policies"
)

// TestSpecsAreDecodedOnce: what a caller sets in a policy is not what the next one finds, and not many are kept.
func TestSpecsAreDecodedOnce(t *testing.T) {
	t.Parallel()
	var s specs
	text := string((&policies.Policy{Name: "chat", Team: "research"}).Canonical())
	first, err := s.decode(text)
	if err != nil || first.Name != "chat" {
		t.Fatal(first, err)
	}
	first.Team = "other"
	if again, err := s.decode(text); err != nil || again.Team != "research" {
		t.Error(again, err)
	}
	if _, err := s.decode("{"); err == nil {
		t.Error("half a policy was decoded")
	}
	for i := range 3 * specsMost {
		if _, err := s.decode(fmt.Sprintf(`{"name":"p%d"}`, i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.of) != specsMost {
		t.Errorf("%d are kept", len(s.of))
	}
}
