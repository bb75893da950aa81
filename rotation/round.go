package rotation

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// Rounds. A policy at rest has its targets and keys looked at as often as any other, and hardly ever is anything found.
// Therefore those whose time has come are claimed, loaded and released together: thousands at rest cost the journal a
// few statements a second. Their turns are like all others, and one that finds something goes on like all others.

// roundLimit bounds a round: so many claims, at most, are lost with a process.
const roundLimit = 256

// roundPatience is how long a claim waits in its round for a place, and for room at its stores and team, before it is
// given back. It is shorter than a third of a lease, so that waiting renews nothing.
const roundPatience = 4 * time.Second

// gatherPause is how long turns that are over wait for others to be released with, so that a slow round costs the journal
// little more than a fast one. One that hangs holds up none. Nothing renews their claims meanwhile: a third of a lease may
// be over already, and more than a third is left to write what they found.
func (s *scheduler) gatherPause() time.Duration {
	if lease := s.journal.Lease(); lease > 0 {
		return lease / 5
	}
	return 3 * time.Second
}

// errNoPlace: a turn of a round waited for a place in vain, or the process is stopping.
var errNoPlace = errors.New("no place for the turn")

// roundPace is the pause between two rounds: nothing to an interval between two looks at one policy.
func (l Limits) roundPace() time.Duration { return max(l.Watch/90, pollPace) }

// rounds makes rounds until stop ends; ctx ends the calls of their turns. While a round finds more than it may take, the
// next follows when it is over.
func (s *scheduler) rounds(ctx, stop context.Context) {
	for failed := false; ; {
		pace := s.limits.roundPace()
		if failed {
			pace = pollPace
		}
		if pause(stop, pace-pace/10+rand.N(pace/5)) != nil {
			return
		}
		for at := s.rest.Swap(nil); at != nil; {
			if at.IsZero() || at.After(s.now()) {
				s.rested(nil) // nobody waits for a round
				failed = false
				break
			}
			began, over, err := s.round(ctx, stop)
			s.rested(err)
			failed = err != nil
			if err != nil && stop.Err() == nil {
				s.log.Error("a round over the policies at rest could not begin", "err", err)
				s.doubted.Store(true)
			}
			if began < roundLimit {
				break
			}
			select {
			case <-over:
			case <-time.After(pace):
			}
		}
	}
}

// rested notes how a round began. A full disk may show in rounds alone: a claim of nothing writes nothing.
func (e *Engine) rested(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restError = err
}

// round claims the policies at rest whose time has come and begins their turns. over is closed when they all ended.
func (s *scheduler) round(ctx, stop context.Context) (began int, over <-chan struct{}, err error) {
	asking, enough := context.WithTimeout(stop, lookLimit)
	defer enough()
	asked := s.boot()
	claims, err := s.journal.ClaimResting(asking, s.owner, s.now(), roundLimit, s.only...)
	if err != nil || len(claims) == 0 {
		return 0, nil, err
	}
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = c.Policy
	}
	at := s.now()
	records, err := s.journal.LoadAll(asking, names)
	if err != nil {
		records = make([]*journal.Record, len(claims))
	}
	var errands []errand
	for i, c := range claims {
		if err == nil && records[i] == nil {
			continue // renamed a moment ago: its claim is void
		}
		errands = append(errands, errand{claim: c, asked: asked, at: at, rec: records[i], place: func() {}})
	}
	ended := make(chan struct{})
	s.working.Go(func() {
		defer close(ended)
		if err != nil {
			s.giveBack(ctx, stop, errands)
			return
		}
		s.gather(ctx, stop, errands)
	})
	return len(claims), ended, err
}

// gather takes the turns of a round, and ends the claims of those that found nothing together.
func (s *scheduler) gather(ctx, stop context.Context, errands []errand) {
	over := make(chan *errand, len(errands)) // nil: it ended its claim itself
	for _, er := range errands {
		s.working.Go(func() { over <- s.inRound(ctx, stop, er) })
	}
	var done []errand
	var enough <-chan time.Time
	for left := len(errands); left > 0; {
		select {
		case er := <-over:
			left--
			if er == nil {
				s.Wake() // it may be due again at once
				continue
			}
			if len(done) == 0 {
				enough = time.After(s.gatherPause())
			}
			done = append(done, *er)
		case <-enough:
			s.endAll(ctx, stop, done)
			done, enough = nil, nil
		}
	}
	s.endAll(ctx, stop, done)
}

// inRound takes one turn of a round. It returns the errand, with the record to be written, of one that found nothing.
func (s *scheduler) inRound(ctx, stop context.Context, er errand) (quiet *errand) {
	p := &place{of: s.places}
	er.place = p.give
	er.admit = func(needs []need) (*stay, error) { return s.admit(stop, p, needs) }
	er.quiet = func() { quiet = &er }
	s.attend(ctx, stop, er)
	return quiet
}

// admit waits for room and then for a place. Turns of rounds stand in line one at a time, so that others get every
// second place, and leave an eighth of each share to them. It refuses with *crowded or errNoPlace.
func (s *scheduler) admit(stop context.Context, p *place, needs []need) (*stay, error) {
	waiting, enough := context.WithTimeout(stop, roundPatience)
	defer enough()
	for i := range needs {
		needs[i].share = max(1, needs[i].share-(needs[i].share+7)/8)
	}
	in, err := s.crowd.await(waiting, needs)
	if err != nil {
		return nil, err
	}
	if !s.queue(waiting, p) {
		in.leave()
		return nil, errNoPlace
	}
	return in, nil
}

// queue waits for a place, and reports whether there was one before ctx ended.
func (s *scheduler) queue(ctx context.Context, p *place) bool {
	select {
	case s.line <- struct{}{}:
		defer func() { <-s.line }()
	case <-ctx.Done():
		return false
	}
	select {
	case s.places <- struct{}{}:
		p.taken.Store(true)
		return true
	case <-ctx.Done():
		return false
	}
}

// endAll ends the claims of turns that found nothing. Where the journal refuses one of them, the others do not suffer.
func (s *scheduler) endAll(ctx, stop context.Context, done []errand) {
	if len(done) == 0 {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	outcomes := make([]journal.Outcome, len(done))
	for i, er := range done {
		outcomes[i] = journal.Outcome{Claim: er.claim, Record: er.rec}
	}
	errs, err := s.journal.CommitAll(within, outcomes)
	switch {
	case errors.Is(err, journal.ErrForbidden):
		errs = slices.Repeat([]error{err}, len(done)) // it does not say of which
	case err != nil:
		s.log.Error("the claims of a round could not be ended", "policies", len(done), "err", err)
		s.giveBack(ctx, stop, done)
		return
	}
	for i, er := range done {
		if errors.Is(errs[i], journal.ErrForbidden) {
			errs[i] = s.journal.Commit(within, er.claim, er.rec, true)
		}
		s.ended(ctx, stop, er, errs[i])
	}
}

// giveBack gives claims back unchanged that do not end by themselves.
func (s *scheduler) giveBack(ctx, stop context.Context, errands []errand) {
	for _, er := range errands {
		if er.claim.Until.IsZero() {
			s.postpone(ctx, stop, er, 0)
		}
	}
}
