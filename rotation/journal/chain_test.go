package journal

import (
	"testing"
	"time"
)

// TestLink: all that an event says, the link before it and whose chain it is in make its link another one.
func TestLink(t *testing.T) {
	t.Parallel()
	start := Chained{Event: Event{At: time.UnixMicro(5), Policy: "ab", Rotation: "c", Kind: KeyCreated, Data: map[string]string{"ref": "r"}}, Text: `{"ref":"r"}`}
	seen := map[string]string{start.LinkAfter("x", true): "as it is"}
	for what, change := range map[string]func(*Chained) string{
		"time":           func(c *Chained) string { c.At = time.UnixMicro(6); return c.LinkAfter("x", true) },
		"no time":        func(c *Chained) string { c.At = time.Time{}; return c.LinkAfter("x", true) },
		"moved border":   func(c *Chained) string { c.Policy, c.Rotation = "a", "bc"; return c.LinkAfter("x", true) },
		"kind":           func(c *Chained) string { c.Kind = KeyFound; return c.LinkAfter("x", true) },
		"data":           func(c *Chained) string { c.Text += " "; return c.LinkAfter("x", true) },
		"link before":    func(c *Chained) string { return c.LinkAfter("y", true) },
		"installation's": func(c *Chained) string { return c.LinkAfter("x", false) },
	} {
		c := start
		link := change(&c)
		if other := seen[link]; other != "" {
			t.Errorf("%s has the link of %s", what, other)
		}
		seen[link] = what
	}
	c := start
	c.Before, c.KeyRef = "x", "r"
	if c.Link = c.LinkAfter("x", true); !c.Holds() {
		t.Error("it does not hold")
	}
	if c.KeyRef = "other"; c.Holds() {
		t.Error("it holds for another key")
	}
}

// BenchmarkLink is what a link costs the commit that writes an event.
func BenchmarkLink(b *testing.B) {
	c := Chained{Event: Event{At: time.UnixMicro(5), Policy: "chat-prod", Rotation: "0195a2b4-1c52-7a8e-9d60-000000000000", Kind: TargetPromoted},
		Text: `{"key_id":"0195a2b4","owner":"search@example.com","target":"vault:llm/search#key"}`}
	for b.Loop() {
		c.Link = c.LinkAfter(c.Link, true)
	}
}
