package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/reason"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// scenery is a simulated xAI, and a folder with a configuration that points to it.
type scenery struct {
	t   testing.TB
	sim *xaisim.Sim
	url string
	dir string
}

func newScenery(t testing.TB) *scenery {
	t.Helper()
	return sceneryOf(t, xaisim.Options{})
}

func sceneryOf(t testing.TB, o xaisim.Options) *scenery {
	t.Helper()
	sim := xaisim.New(o)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return &scenery{t, sim, server.URL, t.TempDir()}
}

// key puts a new management key for the teams into a file.
func (s *scenery) key(file string, teams ...string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), []byte(s.sim.NewManagementKey(teams...).Reveal()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// environment makes the environment of a configuration with these teams. known is what the journal last saw.
func (s *scenery) environment(teams string, known map[string]string) *environment {
	s.t.Helper()
	return s.hooked(teams, known, noHooks())
}

func (s *scenery) hooked(teams string, known map[string]string, h hooks) *environment {
	s.t.Helper()
	text := fmt.Sprintf("xai: {management_url: %q, inference_url: %q}\nteams: %s\nstores: {local: {type: file, dir: s}}\n", s.url, s.url, teams)
	c, err := config.Parse(filepath.Join(s.dir, "rotator.yaml"), []byte(text), config.Env{})
	if err != nil {
		s.t.Fatal(err)
	}
	w := newEnvironment(context.Background(), c, known, h, slog.New(slog.DiscardHandler), made{})
	if err := w.err(); err != nil {
		s.t.Fatal(err)
	}
	return w
}

// refused checks that a team cannot be used, for a reason that waits for a human.
func refused(t *testing.T, w *environment, team, want string) {
	t.Helper()
	_, err := w.Team(context.Background(), team)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want %q", err, want)
	}
	if r := reason.Of(err); !reason.NeedsHuman(r) {
		t.Errorf("reason %s waits for nobody", r)
	}
	if strings.Contains(err.Error(), "xai-token-") {
		t.Error("the management key is in the error")
	}
}

func mustTeam(t *testing.T, w *environment, name string) rotation.Team {
	t.Helper()
	team, err := w.Team(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return team
}

func TestTeamIDIsAskedOfXAI(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("a", "team-a")
	w := s.environment(`{a: {management_key: "file:a"}}`, nil)
	for range 2 {
		if team := mustTeam(t, w, "a"); team.ID != "team-a" {
			t.Errorf("id %s", team.ID)
		}
	}
	if n := s.sim.Calls()["validate"]; n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	refused(t, w, "b", "team b is not in the configuration")
}

func TestOrganizationKeyNeedsID(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("org", "team-a", "team-b")
	w := s.environment(`{a: {management_key: "file:org", id: team-a}, b: {management_key: "file:org", id: team-b}, c: {management_key: "file:org"}}`, nil)
	if a, b := mustTeam(t, w, "a"), mustTeam(t, w, "b"); a.ID != "team-a" || b.ID != "team-b" || a.Keys != b.Keys {
		t.Errorf("%s and %s; one key has one client, and so one pace", a.ID, b.ID)
	}
	refused(t, w, "c", "say teams.c.id")
}

func TestTwoNamesOfOneTeam(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("a", "team-a")
	s.key("b", "team-a")
	w := s.environment(`{a: {management_key: "file:a"}, b: {management_key: "file:b"}}`, nil)
	mustTeam(t, w, "a")
	refused(t, w, "b", "teams a and b are one team")
}

func TestKeyOfAnotherTeam(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("a", "team-a")
	refused(t, s.environment(`{a: {management_key: "file:a", id: team-b}}`, nil), "a", "belongs to another team than team-b")
	refused(t, s.environment(`{a: {management_key: "file:a"}}`, map[string]string{"a": "team-b"}), "a", "belongs to another team than team-b")
}

func TestReplacedManagementKey(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("a", "team-a")
	w := s.environment(`{a: {management_key: "file:a"}}`, nil)
	team := mustTeam(t, w, "a")
	list := func() error { _, err := team.Keys.ListKeys(context.Background(), team.ID); return err }

	old, err := os.ReadFile(filepath.Join(s.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	s.key("a", "team-a")
	if err := list(); err != nil {
		t.Fatalf("the key in force still works: %v", err)
	}
	s.sim.RevokeManagementKey(secretOf(old))
	if err := list(); xai.ClassOf(err) != xai.ClassUnauthenticated {
		t.Fatalf("a revoked key: %v", err)
	}
	if err := list(); err != nil {
		t.Fatalf("the file is read again after a 401: %v", err)
	}
	if got := mustTeam(t, w, "a"); got.ID != "team-a" {
		t.Errorf("id %s", got.ID)
	}

	// Another team's key in the same place is never used for a call.
	now, err := os.ReadFile(filepath.Join(s.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	s.key("a", "team-b")
	s.sim.RevokeManagementKey(secretOf(now))
	if err := list(); xai.ClassOf(err) != xai.ClassUnauthenticated {
		t.Fatalf("a revoked key: %v", err)
	}
	before := s.sim.Calls()["list"]
	if err := list(); err == nil {
		t.Fatal("a key of another team was used")
	}
	if s.sim.Calls()["list"] != before {
		t.Error("a call was made with a key of another team")
	}
	refused(t, w, "a", "belongs to another team than the one before")
}

func TestUnreadableManagementKey(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	w := s.environment(`{a: {management_key: "file:none"}}`, nil)
	refused(t, w, "a", "read secret file:")
	s.key("none", "team-a")
	mustTeam(t, w, "a") // put there later: nothing has to be started again
}

func TestXAIDownIsNoRefusal(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	s.key("a", "team-a")
	s.url = "http://127.0.0.1:1"
	_, err := s.environment(`{a: {management_key: "file:a"}}`, nil).Team(context.Background(), "a")
	if xai.ClassOf(err) != xai.ClassNetwork {
		t.Errorf("%v: that xAI does not answer must not wait for a human", err)
	}
}

func TestStoresOfConfiguration(t *testing.T) {
	t.Parallel()
	s := newScenery(t)
	text := fmt.Sprintf(`xai: {management_url: %q, inference_url: %q}
teams: {a: {}}
stores:
  f: {type: file, dir: s, recipients: [age1nonsense], identity: "file:id"}
  v: {type: vault, address: "http://127.0.0.1:1", mount: "a//b", auth: {method: token, token: "file:t"}}
  w: {type: vault, address: "http://127.0.0.1:1", auth: {method: approle, role_id: "file:none"}}
`, s.url, s.url)
	c, err := config.Parse(filepath.Join(s.dir, "rotator.yaml"), []byte(text), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	err = newEnvironment(context.Background(), c, nil, noHooks(), slog.New(slog.DiscardHandler), made{}).err()
	for _, want := range []string{"stores.f: recipient 1", "stores.v: vault: mount", "stores.w: read secret file:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

func secretOf(text []byte) secret.Text { return secret.New(string(text)) }

// Where xAI does not say whose a management key is, the configuration says the team, and a list confirms it.
func TestTeamIDIsConfirmedByAList(t *testing.T) {
	s := sceneryOf(t, xaisim.Options{GuidesOnly: true, Teams: []string{"team-2"}})
	s.key("key", "team-1")
	refused(t, s.environment(`{a: {management_key: "file:key"}}`, nil), "a", "teams.NAME.id")
	refused(t, s.environment(`{a: {management_key: "file:key"}}`, map[string]string{"a": "team-1"}), "a", "teams.NAME.id")
	refused(t, s.environment(`{a: {management_key: "file:key", id: team-2}}`, nil), "a", "forbidden")
	w := s.environment(`{a: {management_key: "file:key", id: team-1}}`, nil)
	team := mustTeam(t, w, "a")
	if team.ID != "team-1" {
		t.Errorf("the team is %s", team.ID)
	}
	lists := s.sim.Calls()["list"]
	mustTeam(t, w, "a")
	if n := s.sim.Calls()["list"]; n != lists {
		t.Errorf("it is confirmed each time: %d lists more", n-lists)
	}
}
