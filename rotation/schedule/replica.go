package schedule

import (
	"context"
	"time"

	"rotator/rotation/journal"
)

// maxBeat bounds the pause between two signs of life.
const maxBeat = 10 * time.Second

// attendance says that this process is alive, where it is one of several, until the returned function is called. It is
// news for people: no decision rests on it, but that a journal that cannot be told is asked whether it hands out work.
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

// listen wakes the scheduler when another replica, or a command, woke a policy.
func (s *Scheduler) listen(ctx context.Context) {
	if err := s.claims.Wakes(ctx, s.Wake); err != nil && ctx.Err() == nil {
		s.log.Warn("wake-ups from other replicas not received; polling goes on", "err", err)
	}
}
