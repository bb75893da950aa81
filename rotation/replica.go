package rotation

import (
	"context"
	"time"

	"rotator/rotation/journal"
)

// maxBeat bounds the pause between two signs of life.
const maxBeat = 10 * time.Second

// attendance says that this process is alive, where it is one of several, until the returned function is called. It is
// news for people: no decision rests on it, but that a journal that cannot be told is asked whether it hands out work.
func (s *scheduler) attendance(ctx context.Context) (leave func()) {
	lease := s.journal.Lease()
	if lease == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // while turns are parked too
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		self := journal.Replica{Name: s.owner, Host: s.host, Version: s.version, StartedAt: s.now()}
		for {
			s.beat(ctx, self)
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
		if err := s.journal.Leave(ctx, s.owner); err != nil {
			s.log.Warn("this replica could not take its leave: it will be shown as one that fell silent", "err", err)
		}
	}
}

func (s *scheduler) beat(ctx context.Context, self journal.Replica) {
	within, enough := context.WithTimeout(ctx, lookLimit)
	defer enough()
	if err := s.journal.Beat(within, s.now(), self); err != nil && ctx.Err() == nil {
		s.log.Warn("a sign of life was not heard", "err", err)
		s.doubted.Store(true) // perhaps it may only be read: the next look finds out
	}
}

// listen wakes the scheduler when another replica, or a command, woke a policy.
func (e *Engine) listen(ctx context.Context) {
	if err := e.journal.Wakes(ctx, e.Wake); err != nil && ctx.Err() == nil {
		e.log.Warn("what others say is heard by looking alone", "err", err)
	}
}
