package model

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// counter counts from 0: the program adds one, the world adds two, people reset it.
func counter(limit int) Model[int] {
	return Model[int]{
		Start: []int{0},
		Next: func(s int, step Step[int]) {
			if s < limit {
				step(Program, s+1, "%d plus 1", s)
				step(World, min(limit, s+2), "%d plus 2", s)
			}
			step(Person, 0, "reset")
		},
	}
}

func TestExploreVisitsEveryState(t *testing.T) {
	t.Parallel()
	if r := Explore(counter(9)); r.States != 10 || r.Violation != "" {
		t.Errorf("got %v, want 10 states that hold", r)
	}
}

func TestExploreShowsTheShortestPath(t *testing.T) {
	t.Parallel()
	m := counter(9)
	m.Broken = func(_ int, _ Actor, s int) string {
		if s == 5 {
			return "five"
		}
		return ""
	}
	r := Explore(m)
	if want := []string{"0 plus 1", "1 plus 2", "3 plus 2"}; r.Violation != "five" || !slices.Equal(r.Path, want) {
		t.Errorf("got %v, want the path %q to five", r, want)
	}
	if r := Walk(m, rand.New(rand.NewPCG(1, 1)), 10_000); r.Violation != "five" || r.Path[len(r.Path)-1] == "reset" {
		t.Errorf("a long random walk found %v, want five", r)
	}
}

func TestExploreFindsWhereNothingGoesOn(t *testing.T) {
	t.Parallel()
	m := counter(3)
	m.Owed = func(s int) string {
		if s != 0 {
			return "zero"
		}
		return ""
	}
	if r := Explore(m); r.Violation != "stuck: zero" { // only people lead back to zero, and nothing may depend on them
		t.Errorf("got %v, want stuck", r)
	}
	m.Owed = func(s int) string {
		if s != 3 {
			return "three"
		}
		return ""
	}
	if r := Explore(m); r.Violation != "" {
		t.Errorf("got %v, want that three is always reached", r)
	}
}

func TestExploreIsBounded(t *testing.T) {
	t.Parallel()
	m := counter(99)
	m.MaxStates = 10
	if r := Explore(m); r.Violation != "more than 10 states" {
		t.Errorf("got %v, want a bounded search", r)
	}
}
