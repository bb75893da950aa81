package policies

import (
	"strings"
	"testing"
	"time"
)

// TestEitherDay: a schedule that names days of the month and days of the week runs on either, also with a step, and says so
// with its next runs.
func TestEitherDay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) // a Monday
	for schedule, want := range map[string]string{
		"0 3 */2 * mon":   `where Vixie cron and its kin run only on days that both name; the next are Tue 2026-12-01 03:00, Thu 2026-12-03 03:00, Sat 2026-12-05 03:00`,
		"0 3 15 * */3":    `where Vixie cron and its kin run only on days that both name; the next are Wed 2026-12-02 03:00, Sat 2026-12-05 03:00, Sun 2026-12-06 03:00`,
		"0 3 1-7 * mon":   `not only on days that both name; the next are Tue 2026-12-01 03:00, Wed 2026-12-02 03:00, Thu 2026-12-03 03:00`,
		"0 3 13 * fri":    `the next are Fri 2026-12-04 03:00, Fri 2026-12-11 03:00, Sun 2026-12-13 03:00`,
		"0 3 1 * *":       "",
		"0 3 * * mon":     "",
		"0 3 */2 * *":     "",
		"0 3 */1 * mon":   "",
		"0 3 ? * mon":     "",
		"*/5 */2 * */3 *": "",
		"@monthly":        "",
		"@weekly":         "",
		"@every 720h":     "",
	} {
		p := &Policy{Name: "chat", Schedule: schedule}
		got := p.EitherDay(now)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", schedule, got, want)
		}
	}
	zoned := &Policy{Name: "chat", Schedule: "0 3 13 * fri", Timezone: "Asia/Tokyo"}
	if got := zoned.EitherDay(now); !strings.Contains(got, "Fri 2026-12-04 03:00") {
		t.Errorf("in Tokyo: %q", got)
	}
}
