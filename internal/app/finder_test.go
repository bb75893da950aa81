package app

import (
	"strings"
	"testing"
)

func TestSlugsAreNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Chat (prod)": "chat-prod", "llm/chat": "llm-chat", "--": "policy", "": "policy", "ÄÖ x": "x", ".hidden": "hidden",
		strings.Repeat("a", 80): strings.Repeat("a", 63),
	} {
		if got := slug(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
