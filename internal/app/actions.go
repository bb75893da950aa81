package app

import (
	"context"

	"rotator/internal/api"
)

// actions is what commands ask of a program beyond its journal.
type actions struct{ *Program }

var _ api.Actions = actions{}

// Reload implements api.Actions: it reads configuration, policies and secrets again.
func (p actions) Reload(ctx context.Context) error {
	return p.refresh(ctx, refreshing{fresh: true, aloud: true, by: "rotator reload"})
}
