package policies

import (
	"strings"
	"testing"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Adopt{
		"": {}, "adopt: false\n": {}, "adopt: true\n": {On: true},
		"adopt: {key_id: 3f2c-1}\n": {On: true, KeyID: "3f2c-1"},
	} {
		all, problems := Parse("p.yaml", []byte(good+text), options)
		if len(problems) > 0 || all[0].Adopt != want {
			t.Fatalf("%q: %v; %v", text, all, problems)
		}
		canonical := all[0].Canonical()
		if again, err := Decode(canonical); err != nil || again.Adopt != want {
			t.Errorf("%q: recorded as %s, read as %+v; %v", text, canonical, again, err)
		}
		if !want.On && strings.Contains(string(canonical), "adopt") {
			t.Errorf("%q: recorded though it says nothing: %s", text, canonical)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ acls, of, lost string }{
		{"api-key:model:grok-4", "api-key:model:grok-4", ""},
		{"api-key:model:*", "api-key:model:grok-4 api-key:model:*", ""},
		{"api-key:model:grok-4", "api-key:model:* api-key:model:grok-4", "api-key:model:*"},
		{"api-key:model:grok-4", "api-key:model:grok-4-fast api-key:model:grok", "api-key:model:grok api-key:model:grok-4-fast"},
		{"api-key:model:*", "api-key:endpoint:chat", "api-key:endpoint:chat"},
		{"api-key:model:grok*", "api-key:model:grok-4", "api-key:model:grok-4"}, // xAI has * alone
		{"*", "api-key:model:grok-4", "api-key:model:grok-4"},
		{"api-key:model:*", "", ""},
	} {
		if got := strings.Join(Uncovered(strings.Fields(c.acls), strings.Fields(c.of)), " "); got != c.lost {
			t.Errorf("%q does not cover %q of %q, want %q", c.acls, got, c.of, c.lost)
		}
	}
}
