package rotation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// defectPause is the pause of a policy whose turn could not even record its failure, and troublePause that of one whose
// journal failed: it may be back at once, and asks no more of a policy than a takeover would.
const (
	defectPause  = time.Minute
	troublePause = 5 * time.Second
)

// lastWords bounds what is written when a turn is over, also while the process is stopping.
const lastWords = 10 * time.Second

// releasePace is the pause between two tries to give a claim back that does not end by itself.
const releasePace = 5 * time.Second

// attend gives one policy its turn. A defect that panics costs that policy a pause, and not the daemon.
func (s *scheduler) attend(ctx, stop context.Context, er errand) {
	defer er.place()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("a step panicked", "policy", er.claim.Policy, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			s.confess(ctx, stop, er, reason.Errorf(reason.Internal, "a step panicked; the log tells where"))
		}
	}()
	s.ended(ctx, stop, er, s.turn(ctx, stop, er))
}

// ended gives the claim of a turn back that could not do so itself.
func (s *scheduler) ended(ctx, stop context.Context, er errand, err error) {
	full, put := errors.AsType[*crowded](err)
	_, defect := errors.AsType[*reason.Error](err)
	switch {
	case err == nil:
	case errors.Is(err, journal.ErrLost):
		s.log.Warn("another replica took the policy over; nothing more is written", "policy", er.claim.Policy)
	case put:
		s.log.Debug("put off: too many turns in hand", "policy", er.claim.Policy, "of", full.name, "pause", full.pause)
		s.postpone(ctx, stop, er, full.pause)
	case defect, errors.Is(err, journal.ErrForbidden):
		s.log.Error("a turn could not be recorded", "policy", er.claim.Policy, "err", err)
		s.confess(ctx, stop, er, err)
	default:
		s.log.Error("a turn could not be taken", "policy", er.claim.Policy, "err", err)
		s.postpone(ctx, stop, er, troublePause)
	}
}

// confess records in the policy's row a failure that its turn could not record: what it had to say is lost with it, or
// the journal refuses it. Status shows it at once, and people are told when it goes on.
func (s *scheduler) confess(ctx, stop context.Context, er errand, cause error) {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	rec, err := s.journal.Load(within, er.claim.Policy)
	if err == nil {
		now := er.clock(s.now())
		p := &rec.Policy
		if p.Reason != reason.Internal {
			p.Reason, p.Since = reason.Internal, now
		}
		p.Failures++
		p.Error = cause.Error()
		p.NextRunAt = now.Add(defectPause)
		var tell []journal.Event
		if p.Failures == failuresTold {
			tell = append(tell, journal.Event{At: now, Policy: er.claim.Policy, Rotation: p.RotationID, Kind: journal.Failed,
				Data: map[string]string{"reason": string(reason.Internal), "error": p.Error}})
		}
		err = s.journal.Commit(within, er.claim, rec, true, tell...)
	}
	if err != nil {
		s.log.Error("a failure could not be recorded", "policy", er.claim.Policy, "err", err)
		s.postpone(ctx, stop, er, defectPause)
	}
}

// postpone gives a claim back unchanged. A claim that does not end by itself is tried again until it is written: nobody
// would ever act for its policy again. When the process ends, the next one voids it.
func (s *scheduler) postpone(ctx, stop context.Context, er errand, d time.Duration) {
	er.place()
	defer s.strand(er.claim.Policy, nil)
	for {
		err := s.release(ctx, er, d)
		if err == nil || errors.Is(err, journal.ErrLost) {
			return
		}
		s.log.Error("a claim could not be released", "policy", er.claim.Policy, "err", err)
		s.strand(er.claim.Policy, err)
		if s.once || !er.claim.Until.IsZero() || pause(stop, releasePace) != nil {
			return
		}
	}
}

func (s *scheduler) release(ctx context.Context, er errand, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	return s.journal.Release(ctx, er.claim, er.clock(s.now()).Add(d))
}
