package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/internal/testenv/postgrestest"
	"rotator/stores"
	"rotator/xai"
)

// TestObserveModeRefusesChanges: whatever asks for a change, the environment of observe mode sends none.
func TestObserveModeRefusesChanges(t *testing.T) {
	t.Parallel()
	w := newScenery(t)
	w.key("key", "team-1")
	e := w.environment(`{research: {management_key: "file:key"}}`, nil)
	e.mode = config.Observe
	s, ok := e.Store("local")
	if !ok {
		t.Fatal("there is no store")
	}
	at, ctx := stores.Target{Path: "chat"}, t.Context()
	team, err := e.Team(ctx, "research")
	if err != nil {
		t.Fatal(err)
	}
	_, create := team.Keys.CreateKey(ctx, team.ID, xai.CreateRequest{Name: "x"})
	_, update := team.Keys.UpdateKey(ctx, team.ID, "x", xai.KeyUpdate{})
	for i, err := range []error{
		s.Stage(ctx, at, "x", secret.New("x")), s.Promote(ctx, at, "x", secret.New("x"), ""), s.Discard(ctx, at, "x"),
		s.(stores.Fencer).Fence(ctx, at), create, update, team.Keys.DeleteKey(ctx, "x"),
	} {
		if !errors.Is(err, errObserves) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if _, err := team.Keys.ListKeys(ctx, team.ID); err != nil {
		t.Errorf("a list: %v", err)
	}
	dir := filepath.Join(w.dir, "s")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.(stores.Checker).Check(ctx, at); err != nil {
		t.Errorf("a check: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("the check leaves %v", left)
	}
}

// TestModeOfReplicas: a replica that observes leaves all policies to one that rotates. Alone it claims them, and they are paused;
// they continue at once when its mode is rotate.
func TestModeOfReplicas(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database(t)
	var one, other *household
	for _, h := range []**household{&one, &other} {
		*h = newHousehold(t)
		(*h).state = url
		(*h).write("policies/more/search.yaml", "")
	}
	other.scenery.url, other.sim = one.url, one.sim
	other.key("key", "team-1")
	write := func(h *household, also string) {
		h.write("rotator.yaml", strings.Replace(h.config(also), "dir: secrets", "dir: "+filepath.Join(one.dir, "secrets")+", shared: true", 1))
	}
	write(one, "mode: observe")
	write(other, "")
	keys := func() int { return len(one.sim.Keys("team-1")) }
	await := func(what string, so func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s did not come to be", what)
			}
		}
	}
	status := func(p *Program) api.StatusRow {
		rows, err := p.Client().Status(t.Context())
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		return rows[0]
	}
	observes, _ := one.begin()
	await("a paused policy", func() bool { r := status(observes); return r.Reason != nil && *r.Reason == "observe_mode" })
	if keys() != 0 {
		t.Fatal("a key was made in observe mode")
	}
	rotates, leave := other.begin()
	await("a rotation beside a replica that observes", func() bool { return status(rotates).KeyID != nil })
	rows, err := rotates.Client().Replicas(t.Context())
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	for _, r := range rows {
		if want := map[string]string{observes.owner: api.ModeObserve, rotates.owner: api.ModeRotate}[r.Replica]; r.Mode == nil || *r.Mode != want {
			t.Errorf("%s is in mode %v, want %s", r.Replica, r.Mode, want)
		}
	}
	leave()
	one.write("policies/chat.yaml", policyText("chat")+"owner: ann\n")
	one.write("policies/tools.yaml", policyText("tools"))
	if err := (actions{observes}).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	await("a new paused policy", func() bool {
		rows, err := observes.Client().Status(t.Context(), "tools")
		return err == nil && rows[0].Reason != nil && *rows[0].Reason == "observe_mode"
	})
	write(one, "mode: rotate")
	begun := time.Now()
	if err := (actions{observes}).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	await("a rotation after the mode changed", func() bool { return keys() == 2 })
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %s: nobody woke the policies", took)
	}
}
