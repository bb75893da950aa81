package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"strings"
	"testing"

	"rotator/internal/api"
)

// self is how the record names this process's user, who said to be another.
func self(t *testing.T, said string) string {
	t.Helper()
	who := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.LookupId(fmt.Sprint(os.Getuid())); err == nil {
		who = fmt.Sprintf("%s (%s)", u.Username, who)
	}
	return who + ", said to be " + said
}

// TestWhoSpeaks: the record names the user that the kernel knows at the socket; elsewhere it says that no one knows.
func TestWhoSpeaks(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a")
	recorded := func() string {
		h, err := d.journal.HoldOf(t.Context(), "a")
		d.ok(err)
		events, err := d.journal.Events(t.Context(), 0, 100)
		d.ok(err)
		if by := events[len(events)-1].Data["by"]; by != h.By {
			t.Errorf("the event says %q, the hold %q", by, h.By)
		}
		return h.By
	}
	hold := api.HoldRequest{Policy: "a", Reason: "audit", By: "ann"}

	d.ok(api.Dial(listen(t, d.server.Control())).Hold(t.Context(), hold))
	if got := recorded(); got != self(t, "ann") {
		t.Errorf("at the socket: %q", got)
	}
	d.ok(d.client.Hold(t.Context(), hold))
	if got := recorded(); got != self(t, "ann") {
		t.Errorf("in the process: %q", got)
	}
	if u, err := user.Current(); err == nil {
		hold.By = u.Username
		d.ok(d.client.Hold(t.Context(), hold))
		if got := recorded(); got != fmt.Sprintf("%s (uid %s)", u.Username, u.Uid) {
			t.Errorf("under one's own name: %q", got)
		}
	}
	d.ok(d.client.Release(t.Context(), "a", "ann"))

	server := httptest.NewUnstartedServer(d.server.Control())
	server.Config.ConnContext = api.WithPeer
	server.Start()
	defer server.Close()
	answer, err := http.Post(server.URL+"/v1/holds", "application/json", strings.NewReader(`{"policy":"a","reason":"audit","by":"ann"}`))
	d.ok(err)
	d.ok(answer.Body.Close())
	if got := recorded(); got != "ann (unverified)" {
		t.Errorf("over TCP: %q", got)
	}
}
