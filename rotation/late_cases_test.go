package rotation_test

import (
	"slices"
	"testing"
)

// Cases of TestLandsLater that once went wrong, whatever the sample.
func TestLandedLater(t *testing.T) {
	for name, c := range map[string]struct {
		scenario string
		lag      bool
		blows    []blow
	}{
		"a delete without an answer is settled once the key is gone": {
			scenario: "ordinary rotation, one target", blows: []blow{{change{"xai", "delete", 1}, landings[1], false}},
		},
		"clusters learn late that a rehearsal turned its key off": {scenario: "rehearsal", lag: true},
	} {
		t.Run(name, func(t *testing.T) {
			all := scenarios()
			s := all[slices.IndexFunc(all, func(s scenario) bool { return s.name == c.scenario })]
			b, _ := s.lateLife(s.keep(t), c.lag, false, c.blows...)
			b.report(t, name)
		})
	}
}
