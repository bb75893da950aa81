package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/internal/api"
)

// listen serves a handler on a new unix socket.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // the path of t.TempDir, with the test's name, may be too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ConnContext: api.WithPeer}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return path
}

func TestTheSocketAndTheProcessAnswerAlike(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *api.Options) { o.Actions = &actions{} })
	d.office()
	remote := api.Dial(listen(t, d.server.Control()))
	status, err := remote.Status(t.Context())
	d.ok(err)
	golden(t, "status.json", status)
	_, err = remote.Status(t.Context(), "chat-prdo")
	d.fails(err, api.ExitUsage, `no policy is named "chat-prdo"; did you mean chat-prod?`)
	d.ok(remote.Hold(t.Context(), api.HoldRequest{Policy: "fresh", Reason: "audit", By: "ann"}))
	d.ok(remote.Release(t.Context(), "fresh", "ann & bob"))
	d.ok(remote.Reload(t.Context()))
	v, err := remote.Version(t.Context())
	d.ok(err)
	if v.Version != "v1.2.3" || !v.Started.Equal(noon) {
		t.Errorf("version %+v", v)
	}
}

func TestNoDaemon(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "s")
	stale := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after a kill
	_ = l.Close()
	for _, socket := range []string{missing, stale} {
		_, err := api.Dial(socket).Status(t.Context())
		if !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), socket) {
			t.Errorf("error %v, want no daemon at %s", err, socket)
		}
	}
}

// TestADaemonThatEnds: one that dies before it has answered is gone, as one that never was.
func TestADaemonThatEnds(t *testing.T) {
	t.Parallel()
	client := api.Dial(listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	if err := client.Hold(t.Context(), api.HoldRequest{Policy: "a"}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("error %v, want no daemon", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("error %v, want a question that was taken back", err)
	}
}

func TestAnAnswerThatIsNotOurs(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                 "status 502 and no reason",
		"<html>":           "status 502 and no reason",
		`{"error":"what"}`: "status 502 and no reason",
	} {
		c := api.InProcess(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(body))
		}))
		if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestWhoeverGivesUpIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newDesk(t).client.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}
