package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rotator/stores"
)

func warns(s *suite) bool { _, ok := s.Store.(stores.Warner); return ok }

var warning = []test{
	{name: "warnings of nothing", needs: warns, run: func(t *testing.T, s *suite, _ stores.Target) {
		if w := s.warnings(t); len(w) > 0 {
			t.Errorf("without a target there are the warnings %+v", w)
		}
	}},
	{name: "warnings of an absent target", needs: warns, run: func(t *testing.T, s *suite, target stores.Target) {
		s.warnings(t, target)
		if doc, found := s.Read(t, target); found {
			t.Errorf("the warning made the target's secret %q", doc)
		}
		s.clean(t, target)
	}},
	{name: "warnings change nothing", needs: warns, run: func(t *testing.T, s *suite, target stores.Target) {
		second := s.fresh(t)
		s.human(t, target, s.key())
		s.human(t, second, s.key())
		same, sameSecond := s.unchanged(t, target), s.unchanged(t, second)
		s.warnings(t, target, second)
		same()
		sameSecond()
		s.clean(t, target)
	}},
	{name: "warnings beside what is staged", needs: func(s *suite) bool { return warns(s) && canStage(s) }, run: func(t *testing.T, s *suite, target stores.Target) {
		s.human(t, target, s.key())
		a, next := attempt(), s.key()
		s.is(t, s.Store.Stage(t.Context(), target, a, next), nil)
		s.warnings(t, target)
		s.staged(t, target, a, next)
	}},
}

// warnings checks the form of what the store warns of, and that no text shows a value.
func (s *suite) warnings(t *testing.T, targets ...stores.Target) []stores.Warning {
	t.Helper()
	all, err := s.Store.(stores.Warner).Warnings(t.Context(), targets)
	s.is(t, err, nil)
	for _, w := range all {
		if len(w.Targets) == 0 || strings.TrimSpace(w.Text) == "" {
			t.Errorf("a warning without a target or a text: %+v", w)
		}
		for _, about := range w.Targets {
			if !slices.ContainsFunc(targets, func(t stores.Target) bool { return t.Path == about.Path && t.Field == about.Field }) {
				t.Errorf("the warning %q is about %q, which was not asked about", w.Text, about.Path)
			}
		}
		s.silent(t, errors.New(w.Text+" "+w.Do))
	}
	return all
}
