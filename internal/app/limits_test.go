package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/journal"
)

// limitedConfig is a configuration with two folders: admin may do everything, policies what allow says.
func (h *household) limitedConfig(mode, allow string) string {
	return fmt.Sprintf("mode: %s\n", mode) + strings.Replace(h.config(""), "policies: policies\n",
		"policies:\n  - dir: admin\n  - dir: policies\n    allow: "+allow+"\n", 1)
}

const usual = `{teams: [research], stores: {local: [chat, search, tools, "app/*"]}, acls: ["api-key:model:grok-4*", "api-key:endpoint:chat"]}`

func newLimitedHousehold(t *testing.T, mode string) *household {
	h := newHousehold(t)
	if err := os.Mkdir(filepath.Join(h.dir, "admin"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write("rotator.yaml", h.limitedConfig(mode, usual))
	return h
}

// reloads reloads, and returns what is refused.
func reloads(t *testing.T, p *Program) string {
	t.Helper()
	err := p.Client().Reload(t.Context())
	var told *api.Error
	if err != nil && (!errors.As(err, &told) || told.Code != api.ExitUsage) {
		t.Fatal(err)
	}
	if told == nil {
		return ""
	}
	return strings.Join(told.Problems, "\n")
}

// rotates asks for a rotation, and waits until the file holds another key.
func (h *household) rotates(p *Program, policy, file string) {
	h.t.Helper()
	before, _ := os.ReadFile(filepath.Join(h.dir, "secrets", file)) // none is none
	if _, err := p.Client().Place(h.t.Context(), api.OrderRequest{Policy: policy, Kind: string(journal.OrderRotate), Supersede: true, By: "test"}); err != nil {
		h.t.Fatal(err)
	}
	for within := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		now, _ := os.ReadFile(filepath.Join(h.dir, "secrets", file))
		if len(now) > 0 && string(now) != string(before) {
			return
		}
		if time.Now().After(within) {
			rows, _ := p.Client().Status(h.t.Context(), policy)
			h.t.Fatalf("%s was not rotated: %+v", policy, rows)
		}
	}
}

// TestLimitsOfAFolder: what a folder may not do is refused wherever files are read, told wherever people look, and leaves what was
// accepted before at work.
func TestLimitsOfAFolder(t *testing.T) {
	t.Parallel()
	h := newLimitedHousehold(t, "rotate")
	p, _ := h.begin()
	if s := look(t, p); len(s.loads) != 1 || !s.loads[0].OK || s.loads[0].Policies != 3 {
		t.Fatalf("before: %+v", s.loads)
	}
	h.rotates(p, "chat", "chat")

	h.write("policies/chat.yaml", strings.Replace(policyText("chat"), "path: chat", "path: other/chat", 1))
	h.write("policies/new.yaml", strings.Replace(policyText("new"), "path: new", "path: other/new", 1))
	const rule = "chat.yaml:5: policies[1].allow.stores allows local: chat, search, tools, app/*; this target is local other/chat; want a path that is allowed; or ask whoever edits rotator.yaml"
	if got := reloads(t, p); !strings.Contains(got, rule) || !strings.Contains(got, "new.yaml:5: policies[1].allow.stores") {
		t.Errorf("reload says %q", got)
	}
	s := look(t, p)
	if !slices.Equal(s.doubted, []string{"chat"}) || !strings.Contains(s.ready, rule) || s.loads[0].Policies != 3 || !strings.Contains(strings.Join(s.loads[0].Errors, "\n"), rule) {
		t.Errorf("status: %v, ready: %s, loads: %+v", s.doubted, s.ready, s.loads)
	}
	check, err := p.Client().Check(t.Context())
	if err != nil || !slices.ContainsFunc(check, func(r api.CheckRow) bool {
		return r.Result == api.CheckProblem && r.Detail != nil && strings.Contains(*r.Detail, rule)
	}) {
		t.Errorf("check: %v %+v", err, check)
	}
	for _, name := range []string{"chat", "new"} {
		plan, err := p.Client().Plan(t.Context(), time.Time{}, api.Selection{Policies: []string{name}})
		if err != nil || !slices.ContainsFunc(plan, func(r api.PlanRow) bool {
			return r.Policy == name && r.Detail != nil && strings.Contains(*r.Detail, "policies[1].allow.stores")
		}) {
			t.Errorf("plan of %s: %v %+v", name, err, plan)
		}
	}
	h.rotates(p, "chat", "chat") // as it was accepted
	if _, err := os.Stat(filepath.Join(h.dir, "secrets", "other")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a place that is not allowed was written: %v", err)
	}

	// Limits that are narrowed keep nobody's key from being replaced, and let no edit through.
	h.write("policies/new.yaml", "")
	h.write("policies/chat.yaml", policyText("chat")+"owner: o\n")
	h.write("rotator.yaml", h.limitedConfig("rotate", "{teams: [research]}"))
	if got := reloads(t, p); !strings.Contains(got, "chat.yaml:5: policies[1].allow.stores names none") || !strings.Contains(got, "policies[1].allow.acls is not given") {
		t.Errorf("reload says %q", got)
	}
	if s := look(t, p); len(s.doubted) != 3 || s.loads[0].Policies != 3 || len(s.removed) > 0 {
		t.Errorf("narrowed: %+v", s)
	}
	rows, err := p.Client().Status(t.Context(), "chat")
	if err != nil || len(rows) != 1 || rows[0].Owner != nil {
		t.Errorf("an edit got through: %+v %v", rows, err)
	}
	h.rotates(p, "chat", "chat")

	h.write("rotator.yaml", h.limitedConfig("rotate", usual))
	if got := reloads(t, p); got != "" {
		t.Errorf("reload says %q", got)
	}
	if s := look(t, p); len(s.doubted) > 0 {
		t.Errorf("widened again: %+v", s)
	}
}

// TestLimitsWithoutADaemon: a command that works alone, and one that only looks, obey as the daemon does.
func TestLimitsWithoutADaemon(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"rotate", "observe"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newLimitedHousehold(t, mode)
			h.write("policies/more/search.yaml", "")
			h.write("policies/chat.yaml", strings.Replace(policyText("chat"), "path: chat", "path: other/chat", 1))
			h.write("policies/search.yaml", policyText("search"))
			s := Setup{Config: filepath.Join(h.dir, "rotator.yaml"), Log: slog.New(slog.DiscardHandler)}
			if _, err := s.ReadFiles(); err == nil || !strings.Contains(err.Error(), "policies[1].allow.stores") {
				t.Errorf("check says %v", err)
			}
			c, err := s.Configuration()
			if err != nil {
				t.Fatal(err)
			}
			looks, err := s.OpenToLook(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if rows, err := looks.Client().Plan(t.Context(), time.Time{}, api.Selection{Policies: []string{"chat"}}); err != nil || len(rows) != 1 || !strings.Contains(*rows[0].Detail, "it is not in force: "+filepath.Join(h.dir, "policies/chat.yaml")+":5: policies[1].allow.stores") {
				t.Errorf("plan: %+v %v", rows, err)
			}
			if err := looks.Close(); err != nil {
				t.Error(err)
			}
			p, err := s.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			if err := p.LoadProblems(); err == nil || !strings.Contains(err.Error(), "policies[1].allow.stores") {
				t.Errorf("problems: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.RotateOnce(ctx); err != nil {
				t.Error(err)
			}
			for file, want := range map[string]bool{"search": mode == "rotate", "chat": false, "other": false} {
				if _, err := os.Stat(filepath.Join(h.dir, "secrets", file)); (err == nil) != want {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// TestLinksLeadNowhere: an allowed path that a link leads out of the folder is not written, whenever the link is made.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	h := newLimitedHousehold(t, "rotate")
	if err := os.MkdirAll(filepath.Join(h.dir, "secrets", "prod"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("prod", filepath.Join(h.dir, "secrets", "app")); err != nil {
		t.Fatal(err)
	}
	h.write("policies/chat.yaml", strings.Replace(policyText("chat"), "path: chat", "path: app/chat", 1))
	p, _ := h.begin()
	rows, err := p.Client().Check(t.Context())
	if err != nil || !slices.ContainsFunc(rows, func(r api.CheckRow) bool {
		return strings.Contains(r.Subject, "app/chat") && r.Result == api.CheckProblem && strings.Contains(*r.Detail, "symlink")
	}) {
		t.Errorf("check: %v %+v", err, rows)
	}
	if _, err := p.Client().Place(t.Context(), api.OrderRequest{Policy: "chat", Kind: string(journal.OrderRotate), Supersede: true, By: "test"}); err != nil {
		t.Fatal(err)
	}
	h.rotates(p, "search", "search") // meanwhile
	if entries, err := os.ReadDir(filepath.Join(h.dir, "secrets", "prod")); err != nil || len(entries) > 0 {
		t.Errorf("written through the link: %v %v", entries, err)
	}
}

// TestSummaryIsFair: the few problems that fit into a line of the status are of all folders.
func TestSummaryIsFair(t *testing.T) {
	t.Parallel()
	all := policies.Problems{{File: "/rotator.yaml", What: "a"}}
	for i := range 50 {
		all = append(all, policies.Problem{File: fmt.Sprintf("/p/one/%s%02d.yaml", strings.Repeat("x", 1000), i), What: "b"})
	}
	all = append(all, policies.Problem{File: "/p/two/a.yaml", What: "c"})
	got := summary(all, []string{"/p/one", "/p/two"})
	for _, want := range []string{"/rotator.yaml: a", "/p/one/x", "/p/two/a.yaml: c", "and 42 more"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if len(got) > 5000 {
		t.Errorf("it has %d bytes", len(got))
	}
}

// TestChangesWithoutEnd: whoever changes a file all the time does not keep the files of others from being read.
func TestChangesWithoutEnd(t *testing.T) {
	t.Parallel()
	h := newLimitedHousehold(t, "rotate")
	p, _ := h.begin()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { p.watch(ctx, nil) })
	defer working.Wait()
	defer cancel()
	time.Sleep(settleTime) // it watches by now, or reads the files below when it begins to
	h.write("admin/new.yaml", policyText("new"))
	for within := time.Now().Add(time.Minute); p.present().Policies["new"] == nil; time.Sleep(settleTime / 6) {
		h.write("policies/chat.yaml", policyText("chat")+"# "+time.Now().String()+"\n")
		if time.Now().After(within) {
			t.Fatal("another folder's policy was not read")
		}
	}
}
