package app

import (
	"context"

	"rotator/internal/api"
	"rotator/rotation"
)

// How a row of adoptions says what would become of a key.
const (
	AdoptCurrent     = string(rotation.AdoptCurrent)
	AdoptPredecessor = string(rotation.AdoptPredecessor)
	AdoptWaits       = string(rotation.AdoptWaits)
)

// Adoptions implements api.Actions.
func (p actions) Adoptions(ctx context.Context, named []string) ([]api.AdoptionRow, error) {
	if err := p.present().environment.err(); err != nil {
		return nil, err
	}
	found, err := p.engine.Adoptions(ctx, named...)
	if err != nil {
		return nil, err
	}
	rows := make([]api.AdoptionRow, len(found))
	for i, f := range found {
		rows[i] = api.AdoptionRow{
			Policy: optional(f.Policy), KeyID: optional(f.Key.ID), Name: optional(f.Key.Name), As: string(f.As), Target: optional(f.Target), Why: f.Why,
		}
		if at := f.Key.Created.UTC(); !at.IsZero() {
			rows[i].Created = &at
		}
	}
	return rows, nil
}
