package policies

import (
	"fmt"
	"strings"
	"time"
)

// starBit is robfig/cron's mark in a field that names every day; "*/2" does not have it.
const starBit = 1 << 63

// EitherDay says what a schedule does that names days of the month and days of the week, and how that differs from what people
// may know; "" where it does not name both. now is the time from which the next runs are listed, in the policy's time zone.
//
// Vixie cron, which most systems have, takes days that match either field, but days that match both when one of the fields
// begins with a star, such as */2 (see its crontab(5)). robfig/cron takes a field with a step above 1 for one that names days.
func (p *Policy) EitherDay(now time.Time) string {
	t := p.compiled()
	if t == nil || t.cron == nil || t.cron.Dom&starBit != 0 || t.cron.Dow&starBit != 0 {
		return ""
	}
	fields := strings.Fields(p.Schedule)
	text := fmt.Sprintf("the schedule %q runs on each day that the day of month or the day of week names", p.Schedule)
	if strings.HasPrefix(fields[2], "*") || strings.HasPrefix(fields[4], "*") {
		text += ", where Vixie cron and its kin run only on days that both name"
	} else {
		text += ", not only on days that both name"
	}
	text += "; the next are "
	var next []string
	for at := now; len(next) < 3; {
		if at = t.next(at); at.IsZero() {
			break
		}
		next = append(next, at.In(t.zone.loc).Format("Mon 2006-01-02 15:04"))
	}
	return text + strings.Join(next, ", ")
}
