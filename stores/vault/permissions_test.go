package vault

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

var chat = stores.Target{Path: "llm/chat", Field: "api_key"}

// document is the policy for the targets.
func document(t *testing.T, o Options, targets ...stores.Target) string {
	t.Helper()
	documents, err := o.Permissions(targets)
	if err != nil || len(documents) != 1 {
		t.Fatal(documents, err)
	}
	return documents[0].Text
}

// granting opens a store whose token has this policy, and not even Vault's default one beside it.
func granting(t *testing.T, server *vaulttest.Server, o Options, hcl string) *Store {
	t.Helper()
	name := server.Name("policy")
	server.Policy(t, name, hcl)
	o.Auth = Auth{Method: "token", Secret: text(server.BareToken(t, time.Hour, name))}
	return open(t, server, o)
}

// entitlement is a policy that grows with its targets.
type entitlement struct {
	server *vaulttest.Server
	o      Options
	policy string // its name

	mu      sync.Mutex
	targets []stores.Target // guarded by mu
}

func entitle(t *testing.T, server *vaulttest.Server, o Options) *entitlement {
	t.Helper()
	e := &entitlement{server: server, o: o, policy: server.Name("policy")}
	server.Policy(t, e.policy, document(t, o))
	return e
}

func (e *entitlement) add(t *testing.T, target stores.Target) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.targets = append(e.targets, target)
	e.server.Policy(t, e.policy, document(t, e.o, e.targets...))
}

// granted is one capability on one path of a policy.
type granted struct{ path, capability string }

var stanza = regexp.MustCompile(`path "(.+)" \{\n  capabilities = \[(.*)\]\n\}`)

// each lists what a policy grants.
func each(hcl string) (all []granted) {
	for _, m := range stanza.FindAllStringSubmatch(hcl, -1) {
		for c := range strings.SplitSeq(m[2], ", ") {
			all = append(all, granted{m[1], strings.Trim(c, `"`)})
		}
	}
	return all
}

// without returns the policy less one capability.
func without(hcl string, gone granted) string {
	return stanza.ReplaceAllStringFunc(hcl, func(s string) string {
		m := stanza.FindStringSubmatch(s)
		left := slices.DeleteFunc(strings.Split(m[2], ", "), func(c string) bool {
			return m[1] == gone.path && c == fmt.Sprintf("%q", gone.capability)
		})
		if len(left) == 0 {
			return ""
		}
		return strings.Replace(s, m[2], strings.Join(left, ", "), 1)
	})
}

// rotate fills an empty target, and takes it to its next value and back.
func rotate(ctx context.Context, s *Store, target stores.Target) error {
	for _, step := range []func() error{
		func() error { return s.Promote(ctx, target, attempt, oldKey, "") },
		func() error { return s.Stage(ctx, target, attempt, newKey) },
		func() error { return s.Stage(ctx, target, attempt, newKey) }, // the one after a crash
		func() error { _, err := s.Staged(ctx, target, attempt); return err },
		func() error { return s.Promote(ctx, target, attempt, newKey, oldKey.Fingerprint()) },
		func() error { return s.Discard(ctx, target, attempt) },
		func() error {
			_, err := s.Previous(ctx, target, oldKey.Fingerprint())
			if e, _ := s.kv(ctx, target.Path); err != nil && !e.atomic() && errors.Is(err, stores.ErrNotFound) {
				return nil // version 1 keeps none
			}
			return err
		},
		func() error { return s.Promote(ctx, target, attempt, oldKey, newKey.Fingerprint()) },
		func() error { _, err := s.Current(ctx, target); return err },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// outlive reports whether the login lives longer than it was first granted.
func outlive(ctx context.Context, s *Store) error {
	now := time.Now()
	s.sessions.now = func() time.Time { return now }
	next, err := s.Renew(ctx)
	if err != nil || next.IsZero() {
		return fmt.Errorf("it is not known how long the token lives: %w", err)
	}
	now = next.Add(time.Second) // two thirds of an hour later
	if next, err = s.Renew(ctx); err != nil || next.Before(now.Add(30*time.Minute)) {
		return fmt.Errorf("the token is not renewed: %w", err)
	}
	return nil
}

// TestPermissions gives a token exactly the policy, with which everything must go well, and then the policy less one
// capability at a time, with which something must not. Check names what a rotation would miss.
func TestPermissions(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for name, o := range map[string]Options{
		"KV 2": {KVVersion: 2}, "KV 2 staged elsewhere": {KVVersion: 2, StagingPrefix: "rotator/staging"},
		"KV 1": {KVVersion: 1}, "KV 1 staged elsewhere": {KVVersion: 1, StagingPrefix: "rotator/staging"},
	} {
		with := func(t *testing.T, gone granted) *Store {
			t.Helper()
			o := o
			o.Mount = server.Mount(t, o.KVVersion)
			gone.path = strings.Replace(gone.path, "MOUNT", o.Mount, 1)
			hcl := document(t, o, chat)
			less := without(hcl, gone)
			if gone != (granted{}) && len(each(less)) != len(each(hcl))-1 {
				t.Fatalf("%v is not in\n%s", gone, hcl)
			}
			return granting(t, server, o, less)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := with(t, granted{})
			ctx := t.Context()
			if err := errors.Join(s.Check(ctx, chat), rotate(ctx, s, chat), s.Check(ctx, chat), outlive(ctx, s)); err != nil {
				t.Error(err)
			}
			if left := server.List(t, s.mount, ""); len(left) != 1 {
				t.Errorf("it leaves %q", left)
			}
		})
		o.Mount = "MOUNT"
		for _, gone := range each(document(t, o, chat)) {
			t.Run(fmt.Sprintf("%s without %s on %s", name, gone.capability, gone.path), func(t *testing.T) {
				t.Parallel()
				s := with(t, gone)
				check := s.Check(t.Context(), chat)
				rotation := errors.Join(rotate(t.Context(), s, chat), outlive(t.Context(), s))
				switch {
				case gone.path == "sys/capabilities-self":
					is(t, check, stores.ErrDenied)
					is(t, rotation, nil)
				case strings.HasPrefix(gone.path, "auth/"):
					if rotation == nil {
						t.Error("the login outlives its time without it")
					}
				default:
					is(t, rotation, stores.ErrDenied)
					is(t, check, stores.ErrDenied)
					at := strings.NewReplacer("MOUNT", s.mount, "*", probe).Replace(gone.path)
					if want := fmt.Sprintf("missing %q on %s", gone.capability, at); check == nil || !strings.Contains(check.Error(), want) {
						t.Errorf("check says %v, want %s", check, want)
					}
				}
			})
		}
	}
}

// TestCheckExistingNeedsNoCreate: the right to create the target is asked for only while there is none.
func TestCheckExistingNeedsNoCreate(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, version := range []int{1, 2} {
		o := Options{Mount: server.Mount(t, version), KVVersion: version}
		hcl := document(t, o, chat)
		s := granting(t, server, o, without(hcl, granted{each(hcl)[0].path, "create"}))
		is(t, s.Check(t.Context(), chat), stores.ErrDenied)
		server.Write(t, o.Mount, chat.Path, doc(oldKey))
		is(t, s.Check(t.Context(), chat), nil)
		is(t, s.Promote(t.Context(), chat, attempt, newKey, oldKey.Fingerprint()), nil)
		server.Write(t, o.Mount, chat.Path, `{"api_key":7}`)
		is(t, s.Check(t.Context(), chat), stores.ErrInvalid)
	}
}

// TestPermissionsOfOddPaths: a policy means the path as it is written, or there is none.
func TestPermissionsOfOddPaths(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	for _, path := range []string{`a "quote"`, `back\slash`, "a*b", "*", "a+", "+a", "x/y+/z", "ключ", "a#b", "${x}", `${x"}`, "%{x}", "a{{b", "}}", "a//*c", "x/+", "+/x", "é/ü", "a b.rotator"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			o := Options{Mount: server.Mount(t, 2), KVVersion: 2}
			target := stores.Target{Path: path}
			documents, err := o.Permissions([]stores.Target{target})
			if refused := checkLiteral(path) != nil || checkPath("path", path) != nil; refused {
				if !errors.Is(err, stores.ErrInvalid) {
					t.Errorf("the policy is %v, %v", documents, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s := granting(t, server, o, documents[0].Text)
			if err := errors.Join(s.Check(t.Context(), target), rotate(t.Context(), s, target)); err != nil {
				t.Errorf("%v with\n%s", err, documents[0].Text)
			}
			for _, other := range []string{path + "x", "x" + path, path + "/x"} {
				if _, err := s.Current(t.Context(), stores.Target{Path: other}); !errors.Is(err, stores.ErrDenied) {
					t.Errorf("%s: %v", other, err)
				}
			}
		})
	}
}

// TestPermissionsText: what is in the file, for several targets in any order.
func TestPermissionsText(t *testing.T) {
	t.Parallel()
	targets := []stores.Target{{Path: "b", Field: "one"}, {Path: "a"}, {Path: "b", Field: "two"}}
	got := each(document(t, Options{}, targets...))
	slices.Reverse(targets)
	if again := each(document(t, Options{}, targets...)); !slices.Equal(got, again) {
		t.Errorf("the order of the targets makes %v of %v", again, got)
	}
	paths := []string{}
	for _, g := range got {
		if !slices.Contains(paths, g.path) {
			paths = append(paths, g.path)
		}
	}
	want := "secret/data/a secret/data/a.rotator/* secret/metadata/a.rotator/* secret/data/b secret/data/b.rotator/* secret/metadata/b.rotator/* " +
		"auth/token/lookup-self auth/token/renew-self sys/capabilities-self"
	if strings.Join(paths, " ") != want {
		t.Errorf("the paths are %q", paths)
	}
}
