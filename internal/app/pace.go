package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/xai"
)

// sharedPace is the pace of one management key, which all replicas keep together in the journal.
type sharedPace struct {
	journal journal.Pacer
	name    func() string // of the pace; "" until it is known whose key it is
	log     *slog.Logger
	failing atomic.Bool // and that was told
}

var _ xai.SharedPace = (*sharedPace)(nil)

var paceBounds = journal.PaceBounds{
	Top: xai.PaceTop, Floor: xai.PaceFloor, Burst: xai.PaceBurst, Step: xai.PaceStep,
	Calm: xai.PaceCalm, Wave: xai.PaceWave, Wait: xai.PaceWait,
}

var errUnknownTeam = errors.New("it is not known yet whose the management key is")

// Take implements xai.SharedPace.
func (p *sharedPace) Take(ctx context.Context, calls int) (delay time.Duration, rate float64, err error) {
	name := p.name()
	if name == "" {
		return 0, 0, errUnknownTeam
	}
	delay, rate, err = p.journal.Take(ctx, time.Now(), name, calls, paceBounds)
	return delay, rate, p.told(err)
}

// Slow implements xai.SharedPace.
func (p *sharedPace) Slow(ctx context.Context, retryAfter time.Duration) error {
	name := p.name()
	if name == "" {
		return errUnknownTeam
	}
	return p.told(p.journal.Slow(ctx, time.Now(), name, retryAfter, paceBounds))
}

// told says once that the journal does not keep the pace, and once that it does again. A process that only reads the journal
// writes nothing there, a pace neither.
func (p *sharedPace) told(err error) error {
	if failing := err != nil && !errors.Is(err, sqldb.ErrReadOnly); p.failing.Swap(failing) != failing {
		if failing {
			p.log.Warn("the pace toward xAI is this process's own: the journal does not keep it", "err", err)
		} else {
			p.log.Info("the pace toward xAI is shared again")
		}
	}
	return err
}
