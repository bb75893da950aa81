package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
)

// TestHealthOfEverything: everything that rotations need, then the policies, the worst first; a journal that is down is reported like anything else.
func TestHealthOfEverything(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *api.Options) { o.Stores = func() []string { return []string{"vault", "local", "silent"} } })
	d.office()
	look := noon.Add(-time.Second)
	d.engine.look.Store(&look)
	d.server.ObserveStore("vault", "current", "denied", time.Second)
	d.server.ObserveStore("local", "current", "not_found", time.Second)
	told := func() (lines []string) {
		rows, err := d.client.Health(d.Context())
		d.ok(err)
		for _, r := range rows {
			line := fmt.Sprint(r.Kind, " ", r.Name, " ", r.Health)
			for _, more := range []*string{r.Reason, r.Remedy} {
				if more != nil {
					line += " " + *more
				}
			}
			lines = append(lines, line)
		}
		return lines
	}
	want := []string{
		"daemon v1.2.3 ok", "journal  ok", "team research ok", "store local ok", "store silent unknown", "store vault down",
		"policy stuck action_required drift rotator resolve stuck",
		"policy embed degraded held rotator release embed", "policy fresh degraded not_watched", "policy gone degraded not_watched",
		"policy chat-prod progressing overlap",
	}
	if got := told(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	d.at(noon.Add(2 * time.Hour)) // no one acted meanwhile
	look = noon.Add(2 * time.Hour)
	d.engine.look.Store(&look)
	got := told()
	for _, line := range []string{"policy stuck overdue over_age rotator resolve stuck", "policy chat-prod degraded not_watched"} {
		if !slices.Contains(got, line) {
			t.Errorf("%q is missing in\n%s", line, strings.Join(got, "\n"))
		}
	}

	d.journal.down.Store(true)
	if got := told(); !slices.Equal(got, []string{"daemon v1.2.3 ok", "journal  down"}) {
		t.Errorf("with the journal down: %q", got)
	}
}

func TestWhatIsBroken(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]bool{"ok": false, "unknown": false, "down": true, "refused": true, "overdue": false, "degraded": false} {
		if got := (api.HealthRow{Health: word}).Broken(); got != want {
			t.Errorf("%s: %t", word, got)
		}
	}
}
