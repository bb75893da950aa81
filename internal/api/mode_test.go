package api_test

import (
	"strings"
	"testing"

	"rotator/internal/api"
)

// TestModeIsTold: a reader sees in which mode the process is.
func TestModeIsTold(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{api.ModeRotate, api.ModeObserve} {
		d := newDesk(t, func(o *api.Options) { o.Mode = func() string { return mode } })
		d.policies("a")
		observes := mode == api.ModeObserve
		who, err := d.client.Version(t.Context())
		d.ok(err)
		rows, err := d.client.Status(t.Context())
		d.ok(err)
		if who.Mode != mode || rows[0].Mode != mode {
			t.Errorf("%s: the version says %s, and the status %s", mode, who.Mode, rows[0].Mode)
		}
		found, err := d.client.Health(t.Context())
		d.ok(err)
		if told := found[0].Reason != nil && *found[0].Reason == "observe_mode"; told != observes {
			t.Errorf("%s: health says %+v", mode, found[0])
		}
		if strings.Contains(d.get("/").Body.String(), "Observe mode") != observes {
			t.Errorf("%s: the page", mode)
		}
		metrics := d.get("/metrics").Body.String()
		for _, m := range []string{api.ModeRotate, api.ModeObserve} {
			value := "0"
			if m == mode {
				value = "1"
			}
			if want := `rotator_mode{mode="` + m + `"} ` + value; !strings.Contains(metrics, want) {
				t.Errorf("%s: the metrics lack %s", mode, want)
			}
		}
	}
}
