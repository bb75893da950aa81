package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Margin is kept beyond overlap and soak for the rotation itself.
const Margin = time.Hour

// NextRun is the first run of the policy's schedule after t, in UTC and without its jitter; the zero time where the policy
// has no valid schedule.
func (p *Policy) NextRun(t time.Time) time.Time {
	if table := p.compiled(); table != nil {
		return table.next(t)
	}
	return time.Time{}
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

// Cycle is the time from the start of a rotation until the key that it replaces has stopped working: an hour for the
// rotation itself, the canary's time, then the overlap, or require_idle where that is longer. An old key is off in its soak, except where xAI
// does not turn keys off: staysOn says that, and the soak counts too.
func (p *Policy) Cycle(staysOn bool) time.Duration {
	d := Margin + p.Canary.For.Std() + max(p.Retire.Overlap, p.Retire.RequireIdle).Std()
	if staysOn {
		d += p.Retire.Soak.Std()
	}
	return d
}
