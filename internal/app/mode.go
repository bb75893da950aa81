package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/stores"
	"rotator/xai"
)

// errObserves is why nothing is sent in observe mode.
var errObserves = errors.New("observe mode: nothing is changed at xAI or in a store")

// readOnlyStore is a store in observe mode. The engine asks for no change there; this is the last line before the outside.
type readOnlyStore struct{ observed }

func (readOnlyStore) Stage(context.Context, stores.Target, string, secret.Text) error {
	return errObserves
}

func (readOnlyStore) Promote(context.Context, stores.Target, string, secret.Text, secret.Fingerprint) error {
	return errObserves
}

func (readOnlyStore) Discard(context.Context, stores.Target, string) error { return errObserves }

func (readOnlyStore) Fence(context.Context, stores.Target) error { return errObserves }

// Check implements stores.Checker. The target is read and no more: a store's own check tries what a rotation needs, with a file
// beside the target or a dry run.
func (s readOnlyStore) Check(ctx context.Context, t stores.Target) error {
	_, err := s.Current(ctx, t)
	if errors.Is(err, stores.ErrNotFound) {
		return nil
	}
	return err
}

// Warnings implements stores.Warner, as far as the rights to read go.
func (s readOnlyStore) Warnings(ctx context.Context, targets []stores.Target) ([]stores.Warning, error) {
	all, err := s.observed.Warnings(ctx, targets)
	if errors.Is(err, stores.ErrDenied) {
		err = nil
	}
	return all, err
}

// readOnlyKeys is the Management API in observe mode.
type readOnlyKeys struct{ rotation.KeyAPI }

func (readOnlyKeys) CreateKey(context.Context, string, xai.CreateRequest) (xai.CreatedKey, error) {
	return xai.CreatedKey{}, errObserves
}

func (readOnlyKeys) UpdateKey(context.Context, string, string, xai.KeyUpdate) (xai.Key, error) {
	return xai.Key{}, errObserves
}

func (readOnlyKeys) DeleteKey(context.Context, string) error { return errObserves }

// enterMode records in the journal which mode is in force, which it is already with its environment. Observe mode begins with a
// warning for each rotation that it pauses; it ends by making all policies due.
func (p *Program) enterMode(ctx context.Context) error {
	mode := p.present().Config.Mode
	if mode == p.mode {
		return nil
	}
	was, err := p.journal.Meta(ctx, journal.MetaMode)
	if err != nil {
		return err
	}
	switch {
	case mode == config.Observe:
		err = p.tellPaused(ctx)
	case p.mode == config.Observe || was == string(config.Observe): // this process was, or the last one
		p.log.Info("mode is rotate; paused rotations continue")
		err = p.journal.Hasten(ctx, time.Now(), 0)
	}
	if err == nil && was != string(mode) {
		err = p.journal.SetMeta(ctx, journal.MetaMode, string(mode))
	}
	if err != nil {
		return fmt.Errorf("enter mode %s: %w", mode, err)
	}
	p.mode = mode
	return nil
}

// tellPaused logs which rotations are in flight: they continue when the mode is rotate.
func (p *Program) tellPaused(ctx context.Context) error {
	all, err := p.journal.Summaries(ctx)
	for _, s := range all {
		if r := s.Rotation; r != nil && !r.State.Final() {
			p.log.Warn("rotation paused by observe mode", "policy", s.Policy.Name, "rotation", r.ID, "state", r.State)
		}
	}
	return err
}
