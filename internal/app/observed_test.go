package app

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/stores"
	"rotator/stores/memstore"
)

// TestObservedPassesOnFences: what a store can do beyond the contract is not hidden by observing it, and is observed.
func TestObservedPassesOnFences(t *testing.T) {
	t.Parallel()
	var told []string
	observe := func(_ context.Context, store, op, outcome string, _ time.Duration) {
		told = append(told, op+" "+outcome)
	}
	ctx, target := t.Context(), stores.Target{Path: "a"}
	m, plain := memstore.New(), memstore.New()
	plain.Plain = true
	if err := m.Promote(ctx, target, "attempt", secret.New("x"), ""); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		store        stores.Store
		fence, place error
	}{
		{m, nil, nil},
		{plain, stores.ErrCannotFence, nil},
		{struct{ stores.Store }{m}, stores.ErrCannotFence, stores.ErrNotFound},
	} {
		var s stores.Store = observed{tc.store, "s", observe}
		f, fences := s.(stores.Fencer)
		p, places := s.(stores.Placer)
		if !fences || !places {
			t.Fatalf("fences: %t, places: %t", fences, places)
		}
		if err := f.Fence(ctx, target); !errors.Is(err, tc.fence) {
			t.Errorf("fence: %v, want %v", err, tc.fence)
		}
		if _, err := p.Place(ctx, target); !errors.Is(err, tc.place) {
			t.Errorf("place: %v, want %v", err, tc.place)
		}
	}
	if w, err := (observed{struct{ stores.Store }{m}, "s", observe}).Warnings(ctx, []stores.Target{target}); w != nil || err != nil {
		t.Errorf("a store that knows of no dangers warns of %v, %v", w, err)
	}
	warner := warns{m}
	if w, err := (observed{warner, "s", observe}).Warnings(ctx, []stores.Target{target}); err != nil || len(w) != 1 || w[0].Targets[0].Path != "a" {
		t.Errorf("the warnings are %v, %v", w, err)
	}
	if told[len(told)-1] != "warnings ok" {
		t.Errorf("told %v", told)
	}
	if want := []string{"fence ok", "place ok", "fence cannot_fence"}; !slices.Equal(told[:min(3, len(told))], want) {
		t.Errorf("told %v, want %v first", told, want)
	}
	if got := outcome(stores.ErrStale); got != "stale" {
		t.Errorf("an older state is told as %s", got)
	}
}

// warns is a store that warns of all that it is asked about.
type warns struct{ stores.Store }

func (warns) Warnings(_ context.Context, targets []stores.Target) ([]stores.Warning, error) {
	return []stores.Warning{{Targets: targets, Text: "careful"}}, nil
}

// TestObservedPassesOnForgets: so that former values are kept beside what would lose them.
func TestObservedPassesOnForgets(t *testing.T) {
	t.Parallel()
	for store, want := range map[stores.Store]bool{memstore.New(): false, forgets{memstore.New()}: true} {
		var s stores.Store = observed{store, "s", nil}
		f, ok := s.(stores.Forgetter)
		if !ok {
			t.Fatal("what a store forgets is hidden")
		}
		if got, err := f.Forgets(t.Context(), stores.Target{Path: "a"}); got != want || err != nil {
			t.Errorf("%T forgets: %t, %v", store, got, err)
		}
	}
}

// forgets is a store that keeps no former value for long.
type forgets struct{ stores.Store }

func (forgets) Forgets(context.Context, stores.Target) (bool, error) { return true, nil }
