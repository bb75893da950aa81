package kubernetes

import (
	"context"
	"crypto/rand"

	"rotator/stores"
)

// fenceAnnotation changes with each fence.
const fenceAnnotation = "rotator/fence"

// Fence implements stores.Fencer. It changes an annotation and with it the resourceVersion, which every patch carries: one
// that was sent before is refused. A Promote that is still running and would try again sees the annotation and gives up.
func (s *Store) Fence(ctx context.Context, t stores.Target) error {
	p, err := find(t)
	if err == nil {
		mark := rand.Text()
		_, err = s.change(ctx, p.target(), func(held object) (*patch, error) {
			if !held.exists() {
				return nil, stores.ErrNotFound
			}
			return &patch{annotations: map[string]string{fenceAnnotation: mark}}, nil
		})
	}
	return about(err, "fence", t)
}

// Place implements stores.Placer. It asks nothing: a Secret has one name, and the field is the default's where none is named.
func (s *Store) Place(ctx context.Context, t stores.Target) (string, error) {
	p, err := find(t)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", about(err, "find the place of", t)
	}
	return p.namespace + "/" + p.name + "#" + p.field, nil
}
