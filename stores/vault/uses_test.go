package vault

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

// usesRig is a rig whose AppRole gives tokens with so many uses.
func usesRig(t *testing.T, version, uses int) *rig {
	t.Helper()
	r := newRig(t, version, Options{})
	name := r.Name("role")
	roleID, secretID := r.AppRole(t, name, time.Hour, policy(t, r.Server, r.mount))
	if _, err := r.Root().Logical().Write("auth/approle/role/"+name, map[string]any{"token_num_uses": uses}); err != nil {
		t.Fatal(err)
	}
	r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "approle", Role: roleID, Secret: text(secretID)}})
	return r
}

// TestTokensWithFewUses: a token may end with any call, also with the question about rights.
func TestTokensWithFewUses(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		for uses := 1; uses <= 5; uses++ {
			t.Run(fmt.Sprintf("KV %d, %d uses", version, uses), func(t *testing.T) {
				t.Parallel()
				r := usesRig(t, version, uses)
				r.seed(t, doc(oldKey))
				ctx, from, to := t.Context(), oldKey, newKey
				for range 4 {
					is(t, r.store.Check(ctx, r.target), nil)
					is(t, r.store.Stage(ctx, r.target, attempt, to), nil)
					_, err := r.store.Staged(ctx, r.target, attempt)
					is(t, err, nil)
					is(t, r.store.Promote(ctx, r.target, attempt, to, from.Fingerprint()), nil)
					_, err = r.store.Current(ctx, r.target)
					is(t, err, nil)
					is(t, r.store.Discard(ctx, r.target, attempt), nil)
					_, err = r.store.Renew(ctx)
					is(t, err, nil)
					from, to = to, from
				}
				r.holds(t, doc(oldKey))
			})
		}
	}
}

// TestManyCallersShareFewUses: callers do not spend each other's uses.
func TestManyCallersShareFewUses(t *testing.T) {
	t.Parallel()
	for _, uses := range []int{1, 3} {
		r := usesRig(t, 2, uses)
		r.seed(t, doc(oldKey))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := r.store.Current(t.Context(), r.target)
				is(t, err, nil)
			})
		}
		wg.Wait()
	}
}

// TestUsesThatNobodyTold: where Vault does not report the number of uses, a denied call leads to a new login.
func TestUsesThatNobodyTold(t *testing.T) {
	t.Parallel()
	r := usesRig(t, 2, 3)
	r.seed(t, doc(oldKey))
	for range 10 {
		_, err := r.store.Current(t.Context(), r.target)
		is(t, err, nil)
		r.store.sessions.mu.Lock()
		r.store.sessions.held.uses = 0 // unlimited
		r.store.sessions.mu.Unlock()
	}
}

// TestRightMissingWithOneUse: a right that is missing is still a denial, after one new login.
func TestRightMissingWithOneUse(t *testing.T) {
	t.Parallel()
	r := usesRig(t, 2, 1)
	r.store.engine = kv2{r.store.call, "elsewhere", nil}
	_, err := r.store.Current(t.Context(), r.target)
	is(t, err, stores.ErrDenied)
	if n := r.calls("auth/approle/login"); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

// TestGivenTokenIsSpent: nothing can replace it, and the target is not to blame.
func TestGivenTokenIsSpent(t *testing.T) {
	t.Parallel()
	for uses := 1; uses <= 5; uses++ {
		r := newRig(t, 2, Options{})
		r.seed(t, doc(oldKey))
		made, err := r.Root().Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{policy(t, r.Server, r.mount)}, TTL: "1h", NumUses: uses})
		if err != nil {
			t.Fatal(err)
		}
		r.store = open(t, r.Server, Options{Address: r.proxy.Address, Mount: r.mount, Auth: Auth{Method: "token", Secret: text(made.Auth.ClientToken)}})
		for range 3 {
			if err := r.store.Check(t.Context(), r.target); err != nil {
				is(t, err, stores.ErrDenied)
			}
		}
		is(t, r.store.Check(t.Context(), r.target), stores.ErrDenied)
	}
}

// TestSpentTextAfterLogin: a 400 about the token never blames the target, whichever call meets it.
func TestSpentTextAfterLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	is(t, r.store.Check(t.Context(), r.target), nil)
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		r.proxy.Inject(0, vaulttest.Calls(method, "/v1/"+r.mount), vaulttest.Answer(http.StatusBadRequest, `{"errors":["invalid token"]}`))
		is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()), stores.ErrDenied)
		r.proxy.Clear()
	}
}
