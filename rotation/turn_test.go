package rotation

import (
	"context"
	"errors"
	"testing"

	"rotator/rotation/journal"
)

// TestGone: only what failed ends a turn; what went well before the claim was lost, or the process told to stop, went well.
func TestGone(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(t.Context())
	end()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{t.Context(), nil, false},
		{over, nil, false},
		{t.Context(), errors.New("denied"), false},
		{over, errors.New("denied"), true},
		{t.Context(), journal.ErrLost, true},
	} {
		if got := gone(c.ctx, c.err); got != c.want {
			t.Errorf("gone(%v, %v) = %t", c.ctx.Err(), c.err, got)
		}
	}
}
