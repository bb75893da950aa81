package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Cause says why a rotation is due.
type Cause string

// The causes of a rotation that a policy itself can know.
const (
	CauseSchedule  Cause = "schedule"   // its schedule
	CauseMaxAge    Cause = "max_age"    // a key would otherwise get older than max_age before it could be retired
	CauseExpiry    Cause = "expiry"     // a key would otherwise expire at xAI before it could be replaced
	CauseNewTarget Cause = "new_target" // a target that holds no key of this policy yet
)

// Margin is kept beyond overlap and soak for the rotation itself.
const Margin = time.Hour

// History is what the journal knows of a policy. A zero time means that there is none.
type History struct {
	FirstSeen    time.Time // when the policy was first loaded
	LastSuccess  time.Time // when a rotation last went live
	OldestKey    time.Time // creation of the oldest key that is still accepted
	KeyExpires   time.Time // the earliest expiry of a key in use
	TargetsEmpty bool      // a target is known to be empty, or new
}

// NextDue returns when the policy is due and why: the earliest of the next run of its schedule after the last success
// (or after the policy was first seen), the oldest key's max_age less overlap, soak and an hour, and a key's expiry less
// overlap and an hour; now, where a target is empty or new. Of two causes at one instant, the schedule is named.
//
// A time that is not after now means due. What was missed while nobody looked is due once, at its own time in the past:
// whoever finds many policies overdue spreads them by [Policy.Offset]. The result is in UTC and depends on nothing but
// p, h and now. It is the zero time only for a policy without a valid schedule, which Parse and Load never return.
func (p *Policy) NextDue(h History, now time.Time) (at time.Time, cause Cause) {
	now = now.UTC().Round(0)
	if h.TargetsEmpty {
		return now, CauseNewTarget
	}
	earlier := func(t time.Time, c Cause) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at, cause = t, c
		}
	}
	offset := p.Offset()
	if t := p.compiled(); t != nil {
		if run := t.next(p.since(h, now)); !run.IsZero() {
			earlier(run.Add(offset), CauseSchedule)
		}
	}
	// Jitter must not break a promise: these two are spread towards the past.
	if p.MaxAge > 0 && !h.OldestKey.IsZero() {
		earlier(h.OldestKey.UTC().Round(0).Add((p.MaxAge-p.Retire.Overlap-p.Retire.Soak).Std()-Margin-offset), CauseMaxAge)
	}
	if !h.KeyExpires.IsZero() {
		earlier(h.KeyExpires.UTC().Round(0).Add(-p.Retire.Overlap.Std()-Margin-offset), CauseExpiry)
	}
	return at, cause
}

// since is the instant from which the schedule counts.
func (p *Policy) since(h History, now time.Time) time.Time {
	switch {
	case !h.LastSuccess.IsZero():
		return h.LastSuccess
	case !h.FirstSeen.IsZero():
		return h.FirstSeen
	}
	return now
}

// compiled is the timetable; a policy that was put together by hand is compiled on every call.
func (p *Policy) compiled() *timetable {
	if p.timetable != nil {
		return p.timetable
	}
	z, err := openZone(p.Timezone)
	if err != nil {
		return nil
	}
	t, err := compile(p.Schedule, z)
	if err != nil {
		return nil
	}
	return t
}

// Offset is this policy's own part of its jitter: at least 0, less than the jitter, the same on every machine and after
// every restart, since it follows from the name alone.
func (p *Policy) Offset() time.Duration {
	if p.Jitter <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(p.Name))
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(p.Jitter)).Truncate(time.Millisecond)
}

// RetirementAge is how old a key gets whose successor is due because of max_age, until it is off: the successor is there in the
// hour that is kept for it, and overlap and soak last as long as they should.
func (p *Policy) RetirementAge() time.Duration { return (p.MaxAge - p.Retire.Soak).Std() - Margin }

// Upcoming returns the next n rotations as NextDue foresees them if each succeeds at once and its predecessor is retired
// in time; what is overdue comes first, at now. It returns fewer than n only for a policy without a valid schedule.
func (p *Policy) Upcoming(h History, now time.Time, n int) []time.Time {
	now = now.UTC().Round(0)
	var runs []time.Time
	for at := now; len(runs) < n; {
		due, _ := p.NextDue(h, at)
		if due.IsZero() {
			break
		}
		if due.After(at) {
			at = due
		}
		runs = append(runs, at)
		h = History{FirstSeen: h.FirstSeen, LastSuccess: at, OldestKey: at}
	}
	return runs
}
