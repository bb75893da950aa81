package app

import (
	"context"
	"sync"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/rotation/journal"
)

// past is the journal as those read its history who only look. It has connections of its own, and takes none from the
// rotations. It is opened when it is first asked, so that a daemon starts without it.
type past struct {
	open func(context.Context) (journal.Journal, error)

	mu     sync.Mutex
	opened journal.Journal // guarded by mu; nil: no one asked yet
}

var _ api.Past = (*past)(nil)

// past returns the journal of a configuration for those who look; nil: the program's own is the only one there is.
func (s Setup) past(c *config.Config) *past {
	if c.State.String() == "sqlite::memory:" {
		return nil
	}
	return &past{open: func(ctx context.Context) (journal.Journal, error) { return s.OpenJournal(ctx, c, true) }}
}

func (p *past) journal(ctx context.Context) (journal.Journal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened == nil {
		var err error
		if p.opened, err = p.open(ctx); err != nil {
			p.opened = nil // not a nil *sqldb.DB
			return nil, err
		}
	}
	return p.opened, nil
}

// Rotations implements api.Past.
func (p *past) Rotations(ctx context.Context, policy string, limit int) ([]journal.Rotation, error) {
	j, err := p.journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Rotations(ctx, policy, limit)
}

// Summaries implements api.Past.
func (p *past) Summaries(ctx context.Context, policies ...string) ([]journal.Summary, error) {
	j, err := p.journal(ctx)
	if err != nil {
		return nil, err
	}
	return j.Summaries(ctx, policies...)
}

// close closes what was opened. No one asks any more.
func (p *past) close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened == nil {
		return nil
	}
	return p.opened.Close()
}
