package app

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/testenv/postgrestest"
	"rotator/policies"
	"rotator/rotation/journal"
)

// household is a simulated xAI, and the files of a daemon.
type household struct {
	*scenery
	state string
}

func newHousehold(t *testing.T) *household {
	t.Helper()
	h := &household{scenery: newScenery(t), state: "sqlite:rotator.db"}
	h.key("key", "team-1")
	h.write("rotator.yaml", h.config(""))
	for _, dir := range []string{"secrets", "other"} {
		if err := os.MkdirAll(filepath.Join(h.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.write("policies/chat.yaml", policyText("chat"))
	h.write("policies/more/search.yaml", policyText("search")+"---\n"+policyText("tools"))
	return h
}

func (h *household) config(also string) string {
	return fmt.Sprintf(`state: %q
xai: {management_url: %q, inference_url: %q}
teams: {research: {management_key: "file:key"}}
policies: policies
stores:
  local: {type: file, dir: secrets}
%s`, h.state, h.url, h.url, also)
}

func policyText(name string) string {
	return fmt.Sprintf("name: %s\nteam: research\nschedule: \"@every 720h\"\nkey: {acls: [\"api-key:model:grok-4\", \"api-key:endpoint:chat\"]}\ntargets: [{store: local, path: %s}]\n", name, name)
}

// write writes a file; "" removes it.
func (h *household) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	err := os.Remove(path)
	if text == "" {
		if err != nil {
			h.t.Fatal(err)
		}
		return
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		h.t.Fatal(err)
	}
}

// begin starts a daemon on these files. stop ends it as a service manager would.
func (h *household) begin() (p *Program, stop func()) {
	h.t.Helper()
	s := Setup{Config: filepath.Join(h.dir, "rotator.yaml"), Env: config.Env{}, Log: slog.New(slog.DiscardHandler)}
	p, err := s.Open(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	end := p.Work(h.t.Context())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			end()
			if err := p.Close(); err != nil {
				h.t.Error(err)
			}
		}
	}
	h.t.Cleanup(stop)
	return p, stop
}

// seen is what a daemon says of its files.
type seen struct {
	removed, doubted []string // policies
	loads            []api.LoadRow
	ready            string // in detail
	metrics          string
	events           int // reload_refused
}

func look(t *testing.T, p *Program) (s seen) {
	t.Helper()
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Host = "localhost"
		p.api.Public(nil).ServeHTTP(w, r)
		return w
	}
	s.metrics = get("/metrics").Body.String()
	for within := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if w := get("/readyz"); w.Code == http.StatusOK {
			s.ready = w.Body.String()
			break
		} else if time.Now().After(within) {
			t.Fatalf("not ready: %s", w.Body)
		}
	}
	rows, err := p.Client().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.State == api.StateRemoved {
			s.removed = append(s.removed, r.Policy)
		}
		if r.SpecError != nil {
			s.doubted = append(s.doubted, r.Policy)
		}
	}
	if s.loads, err = p.Client().Loads(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, err := p.journal.Events(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Kind == journal.ReloadRefused {
			s.events++
		}
	}
	return s
}

// TestBrokenFiles: each mistake, made while the daemon runs, while it is down, and before it ever ran. It costs what it names,
// and everyone is told.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what     string
		files    map[string]string
		doubted  string // policies that act as accepted before
		removed  string
		added    bool   // the sound policy that came with the mistake is in force
		problem  string // "" : there is none
		fresh    int    // policies in force where the mistake was there from the start
		problems int    // 0: it does not matter
	}{
		{"nothing", nil, "", "", true, "", 4, 0},
		{"a key", map[string]string{"policies/chat.yaml": policyText("chat") + "ovrelap: 1h\n"}, "chat", "", true, `chat.yaml:6: unknown key "ovrelap"`, 3, 1},
		{"one document of two", map[string]string{"policies/more/search.yaml": policyText("search") + "---\n" + policyText("tools") + "x: y\n"}, "tools", "", true, `search.yaml:12: unknown key`, 3, 1},
		{"no YAML", map[string]string{"policies/more/search.yaml": "{"}, "search tools", "", true, "search.yaml:2: this is not YAML", 2, 1},
		{"an empty file", map[string]string{"policies/more/search.yaml": "# soon\n"}, "search tools", "", true, "search.yaml: the file holds no policy", 2, 1},
		{"a file that vanished", map[string]string{"policies/more/search.yaml": ""}, "", "search tools", true, "", 2, 0},
		{"a file that vanished beside a broken one", map[string]string{"policies/more/search.yaml": "", "policies/chat.yaml": "{"}, "chat search tools", "", true, "chat.yaml:2: this is not YAML", 1, 1},
		{"a name that is taken", map[string]string{"policies/a.yaml": policyText("chat") + "owner: mallory\n"}, "", "", true, `a.yaml:1: the name "chat" is taken`, 3, 1},
		{"a target that is taken", map[string]string{"policies/a.yaml": strings.Replace(policyText("new"), "path: new", "path: chat", 1)}, "", "", true, "a.yaml:5: this target is written by", 3, 1},
		{"a store that is not there", map[string]string{"policies/chat.yaml": strings.Replace(policyText("chat"), "local", "vault", 1)}, "chat", "", true, `chat.yaml:5: unknown store "vault"`, 3, 1},
		{"many files", map[string]string{"policies/a.yaml": strings.Repeat("---\na: 1\n", 100_000)}, "", "", true, "a.yaml:10002: the file has more than 5000 documents", 4, 1},
		{"rotator.yaml", map[string]string{"rotator.yaml": "broken: true\n"}, "", "", true, "rotator.yaml:1: unknown key", -1, 0},
		{"a store that cannot be made", map[string]string{"rotator.yaml": "ADD  bad: {type: vault, address: \"http://127.0.0.1:1\", mount: \"a//b\", auth: {method: token, token: \"file:t\"}}\n"}, "", "", true, "rotator.yaml: stores.bad: ", 4, 1},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			spoil := func(h *household) {
				for _, name := range slices.Sorted(maps.Keys(tc.files)) {
					text, adds := strings.CutPrefix(tc.files[name], "ADD")
					if adds {
						text = h.config(text)
					}
					h.write(name, text)
				}
				h.write("policies/added.yaml", policyText("added"))
			}
			right := func(when string, s seen, inForce, events int) {
				t.Helper()
				if got := strings.Join(s.doubted, " "); got != tc.doubted {
					t.Errorf("%s: %q act as accepted before, want %q", when, got, tc.doubted)
				}
				if got := strings.Join(s.removed, " "); got != tc.removed {
					t.Errorf("%s: %q are removed, want %q", when, got, tc.removed)
				}
				ok := tc.problem == ""
				if len(s.loads) != 1 || s.loads[0].OK != ok || s.loads[0].Policies != inForce || tc.problems > 0 && s.loads[0].Problems != tc.problems ||
					!strings.Contains(strings.Join(s.loads[0].Errors, "\n"), tc.problem) {
					t.Errorf("%s: loads %+v, want %d policies in force", when, s.loads, inForce)
				}
				if told := strings.Contains(s.ready, "; what they name stays as it was: "); told == ok || !strings.HasPrefix(s.ready, "ok\n") {
					t.Errorf("%s: readiness %q", when, s.ready)
				}
				if told := strings.Contains(s.ready, "in no file any more"); told != (tc.removed != "") {
					t.Errorf("%s: readiness %q", when, s.ready)
				}
				if want := fmt.Sprintf("rotator_config_last_reload_successful %d\n", map[bool]int{true: 1}[ok]); !strings.Contains(s.metrics, want) {
					t.Errorf("%s: no %s", when, want)
				}
				if s.events != events {
					t.Errorf("%s: told %d times, want %d", when, s.events, events)
				}
			}
			events := map[bool]int{false: 1}[tc.problem == ""]
			inForce := 4 - len(strings.Fields(tc.removed))

			h := newHousehold(t)
			p, stop := h.begin()
			if s := look(t, p); len(s.loads) != 1 || !s.loads[0].OK || s.loads[0].Policies != 3 || s.events != 0 {
				t.Fatalf("before: %+v", s.loads)
			}
			spoil(h)
			time.Sleep(1100 * time.Millisecond) // another snapshot
			for range 2 {
				err := p.Client().Reload(t.Context())
				var told *api.Error
				if (err == nil) != (tc.problem == "") || err != nil && (!errors.As(err, &told) || told.Code != api.ExitUsage || !strings.Contains(strings.Join(told.Problems, "\n"), tc.problem)) {
					t.Errorf("reload: %v %+v", err, told)
				}
			}
			right("reload", look(t, p), inForce, events)
			stop()
			if tc.fresh < 0 {
				s := Setup{Config: filepath.Join(h.dir, "rotator.yaml"), Log: slog.New(slog.DiscardHandler)}
				if _, err := s.Open(context.Background()); !errors.As(err, new(policies.Problems)) {
					t.Errorf("a start without a configuration: %v", err)
				}
				return
			}
			p, stop = h.begin()
			right("restart", look(t, p), inForce, events)
			stop()

			h = newHousehold(t)
			spoil(h)
			p, _ = h.begin()
			if s := look(t, p); len(s.loads) != 1 || s.loads[0].Policies != tc.fresh || s.loads[0].OK != (tc.problem == "") || s.events != events {
				t.Errorf("start: loads %+v, told %d times; want %d policies", s.loads, s.events, tc.fresh)
			}
		})
	}
}

// TestYesterdaysFiles: a replica with older files neither switches off what it does not know nor keeps forever what is gone.
func TestYesterdaysFiles(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database(t)
	today, yesterday := newHousehold(t), newHousehold(t)
	yesterday.scenery.url = today.url
	for _, h := range []*household{today, yesterday} {
		h.state = url
		h.key("key", "team-1")
	}
	yesterday.sim = today.sim
	yesterday.key("key", "team-1")
	for _, h := range []*household{today, yesterday} {
		h.write("rotator.yaml", strings.Replace(h.config(""), "dir: secrets", "dir: "+filepath.Join(today.dir, "secrets")+", shared: true", 1))
	}
	today.write("policies/new.yaml", policyText("new"))

	a, _ := today.begin()
	b, stop := yesterday.begin()
	if err := b.Client().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := look(t, b); len(s.removed) > 0 || len(s.loads) != 2 || s.loads[0].Policies == s.loads[1].Policies {
		t.Errorf("with yesterday's files beside it: removed %v, loads %+v", s.removed, s.loads)
	}
	// What one reads again and again does not undo what the other read meanwhile.
	today.write("policies/chat.yaml", policyText("chat")+"owner: today\n")
	if err := a.Client().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.refresh(t.Context(), refreshing{quiet: true}); err != nil {
		t.Fatal(err)
	}
	if rec, err := b.journal.Load(t.Context(), "chat"); err != nil || rec.Policy.Owner != "today" {
		t.Errorf("%v: an edit was undone by yesterday's files: %+v", err, rec.Policy)
	}
	// One that was not seen for a while finds its policies removed, and brings them back.
	if err := b.journal.SetPolicies(t.Context(), time.Now(), []journal.Spec{{Name: "chat", Team: "research"}}); err != nil {
		t.Fatal(err)
	}
	if !a.isForgotten(t.Context()) {
		t.Error("it does not see that its policies were removed")
	}
	if err := a.refresh(t.Context(), refreshing{quiet: true}); err != nil || a.isForgotten(t.Context()) {
		t.Errorf("its policies stay removed: %v", err)
	}
	today.write("policies/chat.yaml", "")
	if err := a.Client().Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := look(t, a); len(s.removed) > 0 || !a.isUnsettled() {
		t.Errorf("while the other replica reads it: removed %v", s.removed)
	}
	stop()
	if err := a.refresh(t.Context(), refreshing{quiet: true}); err != nil {
		t.Fatal(err)
	}
	if s := look(t, a); !slices.Equal(s.removed, []string{"chat"}) || a.isUnsettled() || len(s.loads) != 1 {
		t.Errorf("once the other replica is gone: removed %v, loads %+v", s.removed, s.loads)
	}
}

// TestAStoreThatFailsGoesOn: what was made before stays in use while its configuration cannot be made, and is tried again.
func TestAStoreThatFailsGoesOn(t *testing.T) {
	t.Parallel()
	h := newHousehold(t)
	vault := func(ca string) string {
		return fmt.Sprintf("  v: {type: vault, address: \"https://127.0.0.1:1\", auth: {method: token, token: \"file:key\"}, tls: {ca_cert: %s}}\n", ca)
	}
	h.write("rotator.yaml", h.config("  v: {type: vault, address: \"https://127.0.0.1:1\", auth: {method: token, token: \"file:key\"}}\n"))
	p, _ := h.begin()
	was, ok := p.present().environment.Store("v")
	if !ok {
		t.Fatal("there is no store")
	}
	h.write("rotator.yaml", h.config(vault("ca.pem")))
	err := p.refresh(t.Context(), refreshing{})
	if err == nil || !strings.Contains(err.Error(), "stores.v: ") || !strings.Contains(err.Error(), "the one from before stays in use") {
		t.Fatalf("reload: %v", err)
	}
	if now, _ := p.present().environment.Store("v"); now.(observed).Store != was.(observed).Store || !p.isUnsettled() {
		t.Error("the store from before is gone")
	}
	local, _ := p.present().environment.Store("local")
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	h.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if err := p.refresh(t.Context(), refreshing{quiet: true}); err != nil {
		t.Fatal(err)
	}
	if now, _ := p.present().environment.Store("v"); now.(observed).Store == was.(observed).Store || p.isUnsettled() {
		t.Error("the store was not made again")
	}
	if now, _ := p.present().environment.Store("local"); now.(observed).Store != local.(observed).Store {
		t.Error("a store was made again for another one's sake")
	}
}
