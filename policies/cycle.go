package policies

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
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
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(p.Jitter)).Truncate(time.Millisecond) //nolint:gosec // less than Jitter
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

// ExpiryLead is how long before a key expires its replacement begins at the latest, without jitter.
func (p *Policy) ExpiryLead() time.Duration {
	return p.Canary.For.Std() + p.Retire.Overlap.Std() + Margin
}

// keyLasts is the longest time from a key's creation until it is off where rotations are in time, and what it is made of: max_age,
// else the longest interval of the schedule, and what a cycle takes after it. An old key that xAI does not turn off works through
// its soak. 0: there is no valid schedule.
func (p *Policy) keyLasts() (d Duration, of string) {
	soak := fmt.Sprintf("soak %s + 1h", p.Retire.Soak)
	if p.MaxAge > 0 {
		return p.MaxAge + p.Retire.Soak + Duration(Margin), fmt.Sprintf("max_age %s + %s", p.MaxAge, soak)
	}
	table := p.compiled()
	if table == nil {
		return 0, ""
	}
	longest := Duration(table.longest())
	of = fmt.Sprintf("%s between two runs + overlap %s + %s", longest, p.Retire.Overlap, soak)
	if p.Retire.RequireIdle > p.Retire.Overlap {
		of = fmt.Sprintf("%s between two runs + require_idle %s + %s", longest, p.Retire.RequireIdle, soak)
	}
	if p.Canary.Wanted() {
		of += fmt.Sprintf(" + canary %s", p.Canary.For)
	}
	if p.Jitter > 0 {
		of += fmt.Sprintf(" + jitter %s", p.Jitter)
	}
	return longest + Duration(p.Cycle(true)) + p.Jitter, of
}
