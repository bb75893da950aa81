package due

import (
	"time"

	"rotator/policies"
)

// Delay says what keeps a rotation that is due from beginning.
type Delay string

// The delays.
const (
	ByWindow Delay = "window" // none of the policy's windows is open
	ByFreeze Delay = "freeze" // a freeze of rotator.yaml is in force
)

// Start is when the next rotation begins.
type Start struct {
	At    time.Time // not after now: it begins
	Cause Cause
	Due   time.Time // when it would begin without windows and freezes
	Delay Delay     // what keeps it until At; "": nothing, it begins when it is due
	Why   string    // why there is a freeze
}

// Start returns when the next rotation begins by windows and freezes, and why it is due then. A window delays what the
// schedule makes due; a freeze delays that, new targets and, if it is hard, max_age. An expiry waits for nothing. Policies
// that waited for the same window or the same end of a freeze are spread by their jitter.
func (f Facts) Start(p *policies.Policy, now time.Time) Start {
	now = now.UTC().Round(0)
	var first Start
	for _, c := range f.causes(p, now) {
		s := Start{At: c.at, Cause: c.cause, Due: c.at}
		f.delay(p, &s, now)
		if s.Cause == Expiry && !s.At.After(now) {
			return s // nothing keeps it, whatever else is due
		}
		if s.Cause == NewTarget && s.Delay == "" {
			return s // it is what is looked for, whatever else is overdue
		}
		if first.At.IsZero() || s.At.Before(first.At) {
			first = s
		}
	}
	return first
}

// delay puts a start off until no window and no freeze keeps it.
func (f Facts) delay(p *policies.Policy, s *Start, now time.Time) {
	s.At, s.Delay, s.Why = f.allowed(p, s.Cause, s.Due)
	if s.At.Before(now) { // it was missed; it begins now, if it may
		if at, by, why := f.allowed(p, s.Cause, now); at.After(now) {
			s.At, s.Delay, s.Why = at, by, why
		}
	}
}

// allowed is the first instant from t on at which nothing keeps a rotation from beginning, and what kept it last.
func (f Facts) allowed(p *policies.Policy, cause Cause, t time.Time) (at time.Time, by Delay, why string) {
	offset := p.Offset()
	for range 1000 { // each round passes a window or a freeze
		if z, ok := Frozen(f.Freezes, p, cause, t); ok {
			_, to := z.Span(p)
			t, by, why = to.Add(offset), ByFreeze, z.Why
			continue
		}
		opens, closes := p.Window(t)
		if cause != Schedule || !opens.After(t) {
			break
		}
		t, by, why = opens.Add(offset%max(closes.Sub(opens), 1)), ByWindow, ""
	}
	return t, by, why
}

// Frozen returns the freeze that keeps a policy at t from what has that cause: of several, the one that ends last.
func Frozen(all []policies.Freeze, p *policies.Policy, cause Cause, t time.Time) (longest policies.Freeze, ok bool) {
	if cause == Expiry {
		return longest, false
	}
	var until time.Time
	for _, z := range all {
		if !p.Matches(z.Labels) || !z.Hard && cause == MaxAge {
			continue
		}
		if from, to := z.Span(p); !from.After(t) && to.After(t) && to.After(until) {
			longest, until, ok = z, to, true
		}
	}
	return longest, ok
}

// Thawed is the first instant from t on at which no freeze keeps a policy from what has that cause.
func Thawed(all []policies.Freeze, p *policies.Policy, cause Cause, t time.Time) time.Time {
	for {
		z, ok := Frozen(all, p, cause, t)
		if !ok {
			return t
		}
		_, t = z.Span(p)
	}
}
