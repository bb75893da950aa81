package main

import (
	"context"

	"rotator/internal/console"
)

var _ console.Actions = (*program)(nil)

// Plan implements console.Actions.
func (p *program) Plan(context.Context, []string) ([]console.PlanRow, error) { return nil, nil }

// Keys implements console.Actions.
func (p *program) Keys(context.Context, string) ([]console.KeyRow, error) { return nil, nil }
