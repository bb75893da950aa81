package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/stores"
)

// errChanged says that someone else wrote the target between the look at it and its replacement; nothing was written.
var errChanged = errors.New("the file keeps changing")

// promote is one attempt to replace the target's value. The caller holds the target's lock.
func (s *Store) promote(ctx context.Context, w *work, value secret.Text, expected secret.Fingerprint) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := w.root.walk(w.folders, makeMissing)
	if err != nil {
		return err
	}
	defer dir.close()
	seen, current, err := s.read(ctx, dir, w.place)
	if err != nil && !errors.Is(err, stores.ErrNotFound) {
		return err
	}
	if current.Equal(value) {
		// A process may have died between the rename and its sync. The caller that gets success may destroy the old key, so it
		// must not come back with the power.
		return dir.settle(w.name)
	}
	if !expected.Is(current) {
		return stores.ErrConflict
	}
	if err := seen.alone(); err != nil {
		return err
	}
	doc, err := w.replaceValue(seen.doc, value)
	if err != nil {
		return err
	}
	sealed, err := s.seal(doc)
	if err != nil {
		return err
	}
	// Kept before it is replaced: a crash in between leaves the current value among the former ones, which harms nothing.
	if err := s.remember(ctx, w, current); err != nil {
		return err
	}
	return dir.replace(w.name, w.temp(), sealed, w.access.over(seen.access), func() error {
		if err := dir.step("compare"); err != nil {
			return err
		}
		now, err := dir.read(w.name, maxSize)
		if err != nil && !errors.Is(err, stores.ErrNotFound) {
			return err
		}
		if !now.same(seen.content) {
			return errChanged
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return guard.Check(ctx) // the last moment at which nothing has happened
	})
}

// snapshot is a target's file as it was read.
type snapshot struct {
	content
	doc []byte // decrypted
}

// read returns what the target holds. A missing file and an empty value are ErrNotFound, with the snapshot that says which.
func (s *Store) read(ctx context.Context, dir folder, p place) (snapshot, secret.Text, error) {
	raw, err := dir.read(p.name, maxSize)
	if err != nil {
		return snapshot{content: raw}, secret.Text{}, err
	}
	doc, err := s.unseal(ctx, raw.bytes)
	if err != nil {
		return snapshot{content: raw}, secret.Text{}, err
	}
	value, err := p.valueOf(doc)
	return snapshot{content: raw, doc: doc}, value, err
}

// maxFormer is how many former values a target keeps: the one before, to roll back to, and the one before that, whose
// key may still live when a rotation was superseded.
const maxFormer = 2

// remember adds value to the target's former values. A value that is there already becomes the newest.
func (s *Store) remember(ctx context.Context, w *work, value secret.Text) error {
	if value.Empty() {
		return nil
	}
	former, err := s.former(ctx, w.root, w.place)
	if err != nil && !errors.Is(err, stores.ErrNotFound) {
		return err
	}
	former = slices.DeleteFunc(former, func(v []byte) bool { return string(v) == value.Reveal() })
	former = slices.Insert(former, 0, []byte(value.Reveal()))
	text, err := json.Marshal(former[:min(len(former), maxFormer)])
	if err != nil {
		return err
	}
	return s.keep(ctx, w, w.former(), text)
}

// former returns the target's former values, the newest first.
func (s *Store) former(ctx context.Context, root folder, p place) ([][]byte, error) {
	text, err := s.kept(ctx, root, p.former())
	if err != nil {
		return nil, err
	}
	var former [][]byte
	if json.Unmarshal(text, &former) != nil {
		return nil, fmt.Errorf("%w: the list of former values is damaged", stores.ErrInvalid)
	}
	return former, nil
}

// keep writes text durably under name in the store's own folder.
func (s *Store) keep(ctx context.Context, w *work, name string, text []byte) error {
	sealed, err := s.seal(text)
	if err != nil {
		return err
	}
	return w.state.replace(name, w.stateTemp(), sealed, w.private, func() error { return guard.Check(ctx) })
}

// kept returns the text under name in the store's own folder.
func (s *Store) kept(ctx context.Context, root folder, name string) ([]byte, error) {
	state, err := root.walk([]string{stateFolder}, mustExist)
	if err != nil {
		return nil, err
	}
	defer state.close()
	raw, err := state.read(name, maxKept)
	if err != nil {
		return nil, err
	}
	return s.unseal(ctx, raw.bytes)
}
