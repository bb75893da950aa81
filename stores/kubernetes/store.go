package kubernetes

import (
	"context"
	"errors"
	"fmt"

	"rotator/internal/secret"
	"rotator/stores"
)

// kept is how many former values of each field are kept.
const kept = 2

// The fields of the Secret beside a target.
func stagedKey(attempt string) string          { return "staged." + attempt }
func previousKey(age int, field string) string { return fmt.Sprintf("previous-%d.%s", age, field) }

// about says what was done, and where, in an error.
func about(err error, doing string, t stores.Target) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s kubernetes %q: %w", doing, t.Path, err)
}

// staged checks a target and an attempt.
func staged(t stores.Target, attempt string) (place, error) {
	p, err := find(t)
	if err == nil && !attemptForm.MatchString(attempt) {
		err = fmt.Errorf("%w: an attempt's id must be letters, digits and '-'", stores.ErrInvalid)
	}
	return p, err
}

// Stage implements stores.Store. It rehearses the promotion first, so that a refusal by admission shows while the rotation
// can still be aborted.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	p, err := staged(t, attempt)
	if err == nil {
		err = s.stage(ctx, p, attempt, value)
	}
	return about(err, "stage in", t)
}

func (s *Store) stage(ctx context.Context, p place, attempt string, value secret.Text) error {
	if value.Empty() {
		return fmt.Errorf("%w: an empty value is none", stores.ErrInvalid)
	}
	key := stagedKey(attempt)
	_, err := s.change(ctx, p.beside(), func(held object) (*patch, error) {
		now, err := held.text(key)
		if err != nil || now.Equal(value) {
			return nil, err
		}
		// Once more when the Secret beside was created: the same quota has to have room for the target.
		if err := s.rehearseTarget(ctx, p, len(value.Reveal())); err != nil {
			return nil, fmt.Errorf("rehearse the promotion: %w", err)
		}
		return &patch{data: map[string]any{key: []byte(value.Reveal())}}, nil
	})
	return err
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (secret.Text, error) {
	p, err := staged(t, attempt)
	var value secret.Text
	if err == nil {
		value, err = s.get(ctx, p.beside(), stagedKey(attempt))
	}
	return value, about(err, "read what is staged in", t)
}

// Current implements stores.Store.
func (s *Store) Current(ctx context.Context, t stores.Target) (secret.Text, error) {
	p, err := find(t)
	var value secret.Text
	if err == nil {
		value, err = s.get(ctx, p.target(), p.field)
	}
	return value, about(err, "read", t)
}

// get reads one field. ErrNotFound: there is no Secret, no field, or nothing in it.
func (s *Store) get(ctx context.Context, r ref, field string) (secret.Text, error) {
	held, err := s.read(ctx, r)
	if err != nil {
		return secret.Text{}, err
	}
	value, err := held.text(field)
	if err == nil && value.Empty() {
		err = stores.ErrNotFound
	}
	return value, err
}

// Discard implements stores.Store. The Secret beside the target goes with the last thing in it.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	p, err := staged(t, attempt)
	if err == nil {
		err = s.discard(ctx, p.beside(), stagedKey(attempt))
	}
	return about(err, "discard in", t)
}

func (s *Store) discard(ctx context.Context, beside ref, key string) error {
	for range tries {
		held, err := s.read(ctx, beside)
		if err != nil || !held.exists() {
			return err
		}
		_, there := held.Data[key]
		switch {
		case !there && len(held.Data) > 0:
			return nil
		case len(held.Data) > 1:
			_, err = s.patch(ctx, beside, held, patch{data: map[string]any{key: nil}}, !dryRun)
		default: // also an empty one, which a crash left
			err = s.remove(ctx, beside, held)
		}
		if errors.Is(err, stores.ErrNotFound) {
			return nil
		}
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errBusy
}

// Promote implements stores.Store. It has succeeded when the workloads that the Secret names were told to restart, too:
// a crash before that is made good by the next call, which finds the value there.
func (s *Store) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	p, err := staged(t, attempt)
	if err == nil {
		err = s.promote(ctx, p, attempt, value, expected)
	}
	return about(err, "promote in", t)
}

func (s *Store) promote(ctx context.Context, p place, attempt string, value secret.Text, expected secret.Fingerprint) error {
	if value.Empty() {
		return fmt.Errorf("%w: an empty value is none", stores.ErrInvalid)
	}
	var fence *string // what the first read showed
	held, err := s.change(ctx, p.target(), func(held object) (*patch, error) {
		now, err := held.text(p.field)
		mark := held.Metadata.Annotations[fenceAnnotation]
		if fence == nil {
			fence = &mark
		}
		switch {
		case *fence != mark:
			return nil, fmt.Errorf("%w: the target was fenced meanwhile", stores.ErrConflict)
		case err != nil || now.Equal(value):
			return nil, err
		case !expected.Is(now):
			return nil, stores.ErrConflict
		}
		if err := held.writable(); err != nil {
			return nil, err
		}
		// Kept before it is written over: a crash in between keeps what is still current, which the next try finds kept.
		if err := s.keep(ctx, p, now); err != nil {
			return nil, fmt.Errorf("keep the former value: %w", err)
		}
		return &patch{
			data:        map[string]any{p.field: []byte(value.Reveal())},
			annotations: held.noted(p.field, note{value.Fingerprint(), attempt}),
		}, nil
	})
	if err != nil {
		return err
	}
	return s.restart(ctx, p, held, value.Fingerprint())
}

// keep makes value the newest former value of the field.
func (s *Store) keep(ctx context.Context, p place, value secret.Text) error {
	if value.Empty() {
		return nil
	}
	_, err := s.change(ctx, p.beside(), func(held object) (*patch, error) {
		newest, err := held.text(previousKey(1, p.field))
		if err != nil || newest.Equal(value) {
			return nil, err
		}
		data := map[string]any{previousKey(1, p.field): []byte(value.Reveal())}
		for age := 2; age <= kept; age++ {
			if former, there := held.Data[previousKey(age-1, p.field)]; there {
				data[previousKey(age, p.field)] = former
			}
		}
		return &patch{data: data}, nil
	})
	return err
}

// Previous implements stores.Previous. The two newest former values of each field are kept.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	p, err := find(t)
	var value secret.Text
	if err == nil {
		value, err = s.previous(ctx, p, want)
	}
	return value, about(err, "read former values of", t)
}

func (s *Store) previous(ctx context.Context, p place, want secret.Fingerprint) (secret.Text, error) {
	held, err := s.read(ctx, p.beside())
	if err != nil {
		return secret.Text{}, err
	}
	for age := 1; age <= kept; age++ {
		if value, err := held.text(previousKey(age, p.field)); err == nil && !value.Empty() && want.Is(value) {
			return value, nil
		}
	}
	return secret.Text{}, stores.ErrNotFound
}
