package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

// clock is a clock that moves by hand. Vault's own goes on as it does: only the store believes that time has passed.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// timed gives the rig's store a clock by hand.
func (r *rig) timed() *clock {
	c := &clock{at: time.Now()}
	r.store.sessions.now = c.now
	return c
}

// policy writes a policy that allows everything in the rig's mount, and returns its name.
func policy(t *testing.T, server *vaulttest.Server, mount string) string {
	t.Helper()
	name := server.Name("policy")
	server.Policy(t, name, fmt.Sprintf(`path "%s/*" { capabilities = ["create", "read", "update", "delete"] }`, mount))
	return name
}

// calls counts the calls with the path since it was asked last.
func (r *rig) calls(path string) int {
	n := 0
	for _, seen := range r.proxy.Seen() {
		if seen.Path == "/v1/"+path {
			n++
		}
	}
	return n
}

// credential is a secret that can be replaced, like a file.
type credential struct {
	mu    sync.Mutex
	value string // guarded by mu
}

func (c *credential) set(value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = value
}

func (c *credential) read(context.Context) (secret.Text, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.value == "" {
		return secret.Text{}, errors.New("no such file")
	}
	return secret.New(c.value), nil
}

// logins are the methods that log in, each with a way to make its credential useless.
var logins = map[string]func(t *testing.T, server *vaulttest.Server, ttl time.Duration, policy string) (Auth, *credential){
	"approle": func(t *testing.T, server *vaulttest.Server, ttl time.Duration, policy string) (Auth, *credential) {
		roleID, secretID := server.AppRole(t, server.Name("role"), ttl, policy)
		c := &credential{value: secretID + "\n"}
		return Auth{Method: "approle", Role: roleID, Secret: c.read}, c
	},
	"jwt": func(t *testing.T, server *vaulttest.Server, ttl time.Duration, policy string) (Auth, *credential) {
		signer := server.JWT(t, "rotator", ttl, policy)
		c := &credential{value: signer.Token(t)}
		return Auth{Method: "jwt", Mount: signer.Mount, Role: "rotator", Secret: c.read}, c
	},
	"kubernetes": func(t *testing.T, server *vaulttest.Server, ttl time.Duration, policy string) (Auth, *credential) {
		signer := server.Kubernetes(t, "rotator", ttl, policy)
		c := &credential{value: signer.Token(t)}
		return Auth{Method: "kubernetes", Mount: signer.Mount, Role: "rotator", Secret: c.read}, c
	},
}

func TestLogins(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := vaulttest.Shared(t)
			mount := server.Mount(t, 2)
			auth, given := login(t, server, time.Hour, policy(t, server, mount))
			r := &rig{Server: server, proxy: server.Proxy(t), mount: mount, target: stores.Target{Path: "llm/chat", Field: "api_key"}}
			r.store = open(t, server, Options{Address: r.proxy.Address, Mount: mount, Auth: auth})
			c := r.timed()
			use := func() error {
				_, err := r.store.Staged(t.Context(), r.target, attempt)
				if errors.Is(err, stores.ErrNotFound) {
					return nil
				}
				return err
			}
			at := "auth/" + r.store.sessions.auth.Mount + "/login"
			expect := func(step string, logins, renewals int) {
				t.Helper()
				is(t, use(), nil)
				seen, renewed := 0, 0
				for _, q := range r.proxy.Seen() {
					switch q.Path {
					case "/v1/" + at:
						seen++
					case "/v1/auth/token/renew-self":
						renewed++
					}
				}
				if seen != logins || renewed != renewals {
					t.Errorf("%s: %d logins and %d renewals, want %d and %d", step, seen, renewed, logins, renewals)
				}
			}
			expect("first", 1, 0)
			expect("used again", 0, 0)
			c.pass(39 * time.Minute)
			expect("before two thirds", 0, 0)
			c.pass(2 * time.Minute)
			expect("after two thirds", 0, 1)
			c.pass(2 * time.Hour)
			expect("after its end", 1, 0)
			r.Revoke(t, r.store.sessions.load().token.Reveal())
			expect("revoked", 1, 0)

			good := given.value
			given.set("wrong")
			c.pass(2 * time.Hour)
			if err := use(); !errors.Is(err, stores.ErrDenied) {
				notKnown(t, err) // the JWT login cannot tell a broken token from trouble of its own
			}
			given.set("")
			is(t, use(), stores.ErrDenied)
			r.proxy.Seen()
			given.set(good)
			expect("fixed", 1, 0)
		})
	}
}

func TestManyCallersLogInOnce(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	auth, _ := logins["approle"](t, server, time.Hour, policy(t, server, mount))
	r := &rig{Server: server, proxy: server.Proxy(t)}
	r.store = open(t, server, Options{Address: r.proxy.Address, Mount: mount, Auth: auth})
	for range 2 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := r.store.Current(t.Context(), stores.Target{Path: "a"})
				is(t, err, stores.ErrNotFound)
			})
		}
		wg.Wait()
		if n := r.calls("auth/approle/login"); n != 1 {
			t.Errorf("%d logins", n)
		}
		r.Revoke(t, r.store.sessions.load().token.Reveal())
	}
}

// TestDeniedCallSparesTheLogin: a right that is missing costs no uses of a secret id while the token is young.
func TestDeniedCallSparesTheLogin(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	name := server.Name("policy")
	server.Policy(t, name, fmt.Sprintf(`path "%s/data/seen" { capabilities = ["read"] }`, mount))
	auth, _ := logins["approle"](t, server, time.Hour, name)
	r := &rig{Server: server, proxy: server.Proxy(t)}
	r.store = open(t, server, Options{Address: r.proxy.Address, Mount: mount, Auth: auth})
	c := r.timed()
	denied := func(logins int) {
		t.Helper()
		for range 3 {
			_, err := r.store.Current(t.Context(), stores.Target{Path: "hidden"})
			is(t, err, stores.ErrDenied)
		}
		if n := r.calls("auth/approle/login"); n != logins {
			t.Errorf("%d logins, want %d", n, logins)
		}
	}
	denied(1)
	denied(0)
	c.pass(patience)
	denied(1) // the role may have other policies by now
}

func TestToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	name := policy(t, r.Server, r.mount)
	file := &credential{value: r.Token(t, time.Hour, name)}
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: file.read}})
	c := r.timed()
	use := func() error {
		_, err := r.store.Staged(t.Context(), r.target, attempt)
		if errors.Is(err, stores.ErrNotFound) {
			return nil
		}
		return err
	}
	renewed := func(want int) {
		t.Helper()
		is(t, use(), nil)
		if n := r.calls("auth/token/renew-self"); n != want {
			t.Errorf("%d renewals, want %d", n, want)
		}
	}
	renewed(0)
	next, err := r.store.Renew(t.Context())
	if d := next.Sub(c.now()); err != nil || d < 39*time.Minute || d > 40*time.Minute {
		t.Errorf("to be renewed in %v, %v", d, err)
	}
	c.pass(41 * time.Minute)
	renewed(1)
	renewed(0)

	old := file.value
	file.set(r.Token(t, 2*time.Hour, name) + "\n") // the file is replaced
	renewed(0)
	r.Revoke(t, old)
	renewed(0)
	if next, err := r.store.Renew(t.Context()); err != nil || next.Sub(c.now()) < 79*time.Minute {
		t.Errorf("the new token's time counts: %v", err)
	}

	r.Revoke(t, file.value)
	is(t, use(), stores.ErrDenied)
	_, err = r.store.Renew(t.Context())
	is(t, err, nil) // what is revoked is seen when it is used
	file.set("broken\ttoken")
	is(t, use(), stores.ErrDenied)
	file.set(r.RootToken)
	renewed(0)
	if next, err := r.store.Renew(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("a token forever is due at %v, %v", next, err)
	}
}

// TestTokenThatMayNotAskAboutItself works, without renewal.
func TestTokenThatMayNotAskAboutItself(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	made, err := r.Root().Auth().Token().Create(&api.TokenCreateRequest{
		Policies: []string{policy(t, r.Server, r.mount)}, NoDefaultPolicy: true, TTL: "1h",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: text(made.Auth.ClientToken)}})
	is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, ""), nil)
	if next, err := r.store.Renew(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("renewal at %v, %v", next, err)
	}
}

// TestTokenThatCannotBeRenewed is used to its end, and only then asked about again.
func TestTokenThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	renewable := false
	made, err := r.Root().Auth().Token().Create(&api.TokenCreateRequest{
		Policies: []string{policy(t, r.Server, r.mount)}, Renewable: &renewable, TTL: "1h",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: text(made.Auth.ClientToken)}})
	c := r.timed()
	for _, step := range []struct {
		pass    time.Duration
		lookups int
	}{{0, 1}, {50 * time.Minute, 0}, {11 * time.Minute, 1}} {
		c.pass(step.pass)
		_, err := r.store.Current(t.Context(), r.target)
		is(t, err, stores.ErrNotFound)
		if n := r.calls(lookupSelf); n != step.lookups {
			t.Errorf("%d lookups %v later, want %d", n, step.pass, step.lookups)
		}
	}
}

// TestRenewalFails: a session that still lives is used while Vault cannot renew it.
func TestRenewalFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	token := r.Token(t, time.Hour, policy(t, r.Server, r.mount))
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: text(token)}})
	c := r.timed()
	read := func() {
		t.Helper()
		_, err := r.store.Current(t.Context(), r.target)
		is(t, err, stores.ErrNotFound)
	}
	read()
	c.pass(41 * time.Minute)
	r.proxy.Inject(1, vaulttest.Calls("", "renew-self"), vaulttest.Answer(http.StatusBadGateway, "<html>"))
	read()
	read()
	if n := r.calls("auth/token/renew-self"); n != 1 {
		t.Errorf("%d renewals tried", n)
	}
	c.pass(7 * time.Minute)
	read()
	if n := r.calls("auth/token/renew-self"); n != 1 {
		t.Errorf("%d renewals after the pause", n)
	}
}

// TestLoginFailsBeforeTheEnd: a session that cannot be renewed or replaced is used until it ends.
func TestLoginFailsBeforeTheEnd(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount := server.Mount(t, 2)
	auth, given := logins["approle"](t, server, time.Hour, policy(t, server, mount))
	r := &rig{Server: server, proxy: server.Proxy(t)}
	r.store = open(t, server, Options{Address: r.proxy.Address, Mount: mount, Auth: auth})
	c := r.timed()
	read := func(want error) {
		t.Helper()
		_, err := r.store.Current(t.Context(), stores.Target{Path: "a"})
		is(t, err, want)
	}
	read(stores.ErrNotFound)
	r.store.sessions.held.renewable = false
	given.set("wrong")
	for range 2 { // two thirds of the time are over, then almost all of it
		c.pass(29 * time.Minute)
		read(stores.ErrNotFound)
	}
	c.pass(3 * time.Minute)
	read(stores.ErrDenied)
}

// TestNearTheGreatestAge: renewals that grant less and less give way to a new login.
func TestNearTheGreatestAge(t *testing.T) {
	t.Parallel()
	server := vaulttest.Shared(t)
	mount, name := server.Mount(t, 2), server.Name("role")
	roleID, secretID := server.AppRole(t, name, time.Hour, policy(t, server, mount))
	if _, err := server.Root().Logical().Write("auth/approle/role/"+name, map[string]any{"token_max_ttl": "61m"}); err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: server, proxy: server.Proxy(t)}
	r.store = open(t, server, Options{
		Address: r.proxy.Address, Mount: mount, Auth: Auth{Method: "approle", Role: roleID, Secret: text(secretID)},
	})
	c := r.timed()
	read := func(logins int) {
		t.Helper()
		_, err := r.store.Current(t.Context(), stores.Target{Path: "a"})
		is(t, err, stores.ErrNotFound)
		if n := r.calls("auth/approle/login"); n != logins {
			t.Errorf("%d logins, want %d", n, logins)
		}
	}
	read(1)
	// Vault, whose clock does not move, grants the rest of an hour still; half of what was first granted is more than this.
	r.store.sessions.held.life = 3 * time.Hour
	c.pass(41 * time.Minute)
	read(0)
	c.pass(41 * time.Minute)
	read(1)
}

// TestRun: a token that nothing uses lives on.
func TestRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	token := r.Token(t, time.Hour, policy(t, r.Server, r.mount))
	// The store believes that the token ends sooner than it does: one that ended could not be renewed.
	r.proxy.Inject(0, vaulttest.Calls("", "lookup-self"), vaulttest.Answer(http.StatusOK, `{"data":{"ttl":3,"renewable":true}}`))
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: text(token)}})
	renewed := make(chan struct{})
	r.proxy.Inject(1, vaulttest.Calls("", "renew-self"), vaulttest.Before(func() { close(renewed) }))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.store.Run(ctx) }()
	select {
	case <-renewed:
	case <-time.After(unhurried):
		t.Error("the token was not renewed")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
