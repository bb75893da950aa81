package schedule

import (
	"context"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// maxBeat bounds the pause between two signs of life.
const maxBeat = 10 * time.Second

// attendance says that this process is alive, where it is one of several, until the returned function is called. It is
// news for people: no decision rests on it, except that a journal that cannot be written is asked whether it hands out work.
func (l *loop) attendance(ctx context.Context) (leave func()) {
	lease := l.leases.Lease()
	if lease == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // while turns park too
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		self := journal.Replica{Name: l.owner, Host: l.host, Version: l.version, StartedAt: l.now()}
		for {
			self.Observes = l.observes()
			l.beat(ctx, self)
			if pause(ctx, min(lease*2/3, maxBeat)) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		ctx, enough := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer enough()
		if err := l.replicas.Leave(ctx, l.owner); err != nil {
			l.log.Warn("replica not signed off; it will be shown as silent", "err", err)
		}
	}
}

func (l *loop) beat(ctx context.Context, self journal.Replica) {
	within, enough := context.WithTimeout(ctx, lookLimit)
	defer enough()
	if err := l.replicas.Beat(within, l.now(), self); err != nil && ctx.Err() == nil {
		l.log.Warn("heartbeat failed", "err", err)
		l.doubted.Store(true) // perhaps it may only be read: the next look finds out
	}
}

// yields reports that this process leaves all policies to others, since it only observes and another acts. It asks as often as
// it would claim: an answer that is a beat old is good enough, since whoever observes changes nothing.
func (l *loop) yields(ctx context.Context) (bool, error) {
	if !l.observes() || l.leases.Lease() == 0 {
		return false, nil
	}
	within, enough := context.WithTimeout(ctx, lookLimit)
	defer enough()
	all, err := l.replicas.Replicas(within)
	return slices.ContainsFunc(all, func(r journal.Replica) bool {
		return r.Name != l.owner && !r.Observes && r.Unseen <= journal.StaleAfter
	}), err
}

// listen wakes the scheduler when another replica, or a command, woke a policy.
func (s *Scheduler) listen(ctx context.Context) {
	if err := s.claims.Wakes(ctx, s.Wake); err != nil && ctx.Err() == nil {
		s.log.Warn("wake-ups from other replicas not received; polling goes on", "err", err)
	}
}
