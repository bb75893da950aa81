package vault

import (
	"context"
	"errors"
	"fmt"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// stagedField is the field of a staged secret. It does not depend on the target's: an attempt has one key, which two
// fields of one secret stage as one.
const stagedField = "value"

// place is a target, checked.
type place struct {
	path  string
	field string
}

// find checks the target and returns it with the engine that holds it.
func (s *Store) find(ctx context.Context, t stores.Target) (place, engine, error) {
	p := place{path: t.Path, field: t.Field}
	if p.field == "" {
		p.field = "value"
	}
	if err := checkPath("path", p.path); err != nil {
		return place{}, nil, fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	if len(t.Options) > 0 {
		return place{}, nil, fmt.Errorf("%w: vault targets take no options", stores.ErrInvalid)
	}
	e, err := s.kv(ctx, p.path)
	return p, e, err
}

// stagedPath is where the attempt's value waits for the target.
func (s *Store) stagedPath(path, attempt string) (string, error) {
	staged := path + ".rotator/" + attempt
	if s.staging != "" {
		staged = s.staging + "/" + path + "/" + attempt
	}
	if err := checkPath("staging path", staged); err != nil {
		return "", fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	return staged, nil
}

// about says what was done, and where, in an error.
func (s *Store) about(err error, doing string, t stores.Target) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s vault %s/%s: %w", doing, s.mount, t.Path, err)
}

// Stage implements stores.Store.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	err := s.staged(ctx, t, attempt, func(e engine, path string) error {
		// Written as if nothing were there, which is one call; read only where something is.
		whatever := func(secret.Text) error { return nil }
		return put(ctx, e, place{path, stagedField}, value, &content{}, whatever)
	})
	return s.about(err, "stage in", t)
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (value secret.Text, err error) {
	err = s.staged(ctx, t, attempt, func(e engine, path string) error {
		value, err = get(ctx, e, place{path, stagedField})
		return err
	})
	return value, s.about(err, "read what is staged in", t)
}

// Discard implements stores.Store.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	err := s.staged(ctx, t, attempt, func(e engine, path string) error { return settle(e.erase(ctx, path)) })
	return s.about(err, "discard in", t)
}

// staged runs do with the engine and the path of what is staged.
func (s *Store) staged(ctx context.Context, t stores.Target, attempt string, do func(e engine, path string) error) error {
	p, e, err := s.find(ctx, t)
	if err != nil {
		return err
	}
	path, err := s.stagedPath(p.path, attempt)
	if err != nil {
		return err
	}
	if versioned, ok := e.(kv2); ok {
		versioned.seen = nil // other replicas discard too, and then the numbers begin again
		e = versioned
	}
	return do(e, path)
}

// Current implements stores.Store.
func (s *Store) Current(ctx context.Context, t stores.Target) (secret.Text, error) {
	p, e, err := s.find(ctx, t)
	if err != nil {
		return secret.Text{}, s.about(err, "read", t)
	}
	value, err := get(ctx, e, p)
	return value, s.about(err, "read", t)
}

// Promote implements stores.Store.
func (s *Store) Promote(ctx context.Context, t stores.Target, _ string, value secret.Text, expected secret.Fingerprint) error {
	p, e, err := s.find(ctx, t)
	if err != nil {
		return s.about(err, "promote in", t)
	}
	err = put(ctx, e, p, value, nil, func(now secret.Text) error {
		if expected.Is(now) {
			return nil
		}
		return stores.ErrConflict
	})
	if err == nil && !e.atomic() {
		err = s.readBack(ctx, e, p, value)
	}
	return s.about(err, "promote in", t)
}

// readBack finds out whether another writer came after us, where the engine does not prevent it. What it finds then is
// "not known" to the caller, who comes back and compares.
func (s *Store) readBack(ctx context.Context, e engine, p place, value secret.Text) error {
	now, err := get(ctx, e, p)
	if errors.Is(err, stores.ErrNotFound) || err == nil && !now.Equal(value) {
		return errors.New("overwritten by another writer in the same moment")
	}
	return err
}

// get reads one field. ErrNotFound: there is no secret, no field, or no text in it.
func get(ctx context.Context, e engine, p place) (secret.Text, error) {
	held, err := e.read(ctx, p.path, 0)
	if err != nil {
		return secret.Text{}, settle(err)
	}
	value, err := field(held, p)
	if err == nil && value.Empty() {
		err = stores.ErrNotFound
	}
	return value, err
}

// field returns the field's text, empty when there is none.
func field(held content, p place) (secret.Text, error) {
	text, err := jsonfield.Get(held.doc, p.field)
	switch {
	case errors.Is(err, jsonfield.ErrNotFound):
		return secret.Text{}, nil
	case err != nil:
		return secret.Text{}, fmt.Errorf("%w: field %q: %w", stores.ErrInvalid, p.field, err)
	}
	return secret.New(text), nil
}

// putTries bounds how often one put begins again because of other writers.
const putTries = 10

// put makes value the text of the field and keeps the rest of the secret, if admit agrees to what the field holds now
// (the empty text: nothing). The value there already is success. held is what the path is known or believed to hold;
// nil: it is read first.
//
// A crash or a lost answer anywhere leaves either what was there or the whole new document; the call that comes after it
// finds out which by reading.
func put(ctx context.Context, e engine, p place, value secret.Text, held *content, admit func(now secret.Text) error) error {
	if value.Empty() {
		return fmt.Errorf("%w: an empty value is none", stores.ErrInvalid)
	}
	atLeast := 0
	for range putTries {
		if held == nil {
			now, err := e.read(ctx, p.path, atLeast)
			if err != nil {
				return settle(err)
			}
			held = &now
		}
		now, err := field(*held, p)
		if err != nil {
			return err
		}
		if now.Equal(value) {
			return nil
		}
		if err := admit(now); err != nil {
			return err
		}
		doc, err := jsonfield.Set(held.doc, p.field, value.Reveal())
		if err != nil {
			return fmt.Errorf("%w: field %q: %w", stores.ErrInvalid, p.field, err)
		}
		if err := e.write(ctx, p.path, doc, *held); !errors.Is(err, errMismatch) {
			return settle(err)
		}
		// Another version is there. A read that still shows the old one comes from a follower that is behind.
		atLeast, held = held.version+1, nil
	}
	return errors.New("other writers change the secret all the time")
}

// settle gives Vault's 400 the meaning that it has where no check-and-set is involved.
func settle(err error) error {
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%w: %w", stores.ErrInvalid, err)
	}
	return err
}

// maxVersionsBack bounds how many former versions Previous reads. Vault keeps 10 unless told otherwise.
const maxVersionsBack = 100

// Previous implements stores.Previous. It needs no right beyond reading the target. KV 1 keeps nothing: ErrNotFound.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	p, e, err := s.find(ctx, t)
	if err == nil {
		var value secret.Text
		if value, err = previous(ctx, e, p, want); err == nil {
			return value, nil
		}
	}
	return secret.Text{}, s.about(err, "read former versions of", t)
}

// Forgets implements stores.Forgetter: KV 2 keeps max_versions versions of the whole secret. KV 1 keeps none of any.
func (s *Store) Forgets(ctx context.Context, t stores.Target) (bool, error) {
	_, e, err := s.find(ctx, t)
	if err != nil {
		return false, s.about(err, "look at", t)
	}
	return e.atomic(), nil
}

func previous(ctx context.Context, e engine, p place, want secret.Fingerprint) (secret.Text, error) {
	versioned, ok := e.(kv2)
	if !ok {
		return secret.Text{}, stores.ErrNotFound
	}
	newest, err := versioned.read(ctx, p.path, 0)
	if err != nil {
		return secret.Text{}, settle(err)
	}
	for version := newest.version - 1; version > max(0, newest.version-1-maxVersionsBack); version-- {
		held, err := versioned.at(ctx, p.path, version)
		if err != nil {
			return secret.Text{}, settle(err)
		}
		if held.version == 0 {
			break // dropped for its age, and so are all before it
		}
		// A version in which the field is no text is none of ours.
		if value, err := field(held, p); err == nil && !value.Empty() && want.Is(value) {
			return value, nil
		}
	}
	return secret.Text{}, stores.ErrNotFound
}
