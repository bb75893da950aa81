package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"rotator/internal/secret"
	"rotator/stores"
)

// Auth is how the store logs in.
type Auth struct {
	// Method is token, approle, kubernetes or jwt.
	Method string
	// Mount is the path of the auth mount; default: the method's name. Not for token.
	Mount string
	// Role is the role's name; for approle its role id. Not for token.
	Role string
	// Secret returns the token, the AppRole's secret id, or the JSON Web Token. It is asked again for every login, and
	// for a token before every call, so that a replaced file is used at once. White space around it is dropped.
	// May be nil for approle (a role that asks for none) and kubernetes (the pod's own service account).
	Secret func(context.Context) (secret.Text, error)
}

// serviceAccount is where Kubernetes puts a pod's token.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// complete returns a with its defaults, or says what is wrong with it.
func (a Auth) complete() (Auth, error) {
	switch a.Method {
	case "token":
		if a.Mount != "" || a.Role != "" {
			return a, errors.New("auth method token takes neither mount nor role")
		}
	case "approle", "jwt", "kubernetes":
		if a.Role == "" {
			return a, fmt.Errorf("auth method %s needs a role", a.Method)
		}
		if a.Mount == "" {
			a.Mount = a.Method
		}
		if err := checkPath("auth mount", a.Mount); err != nil {
			return a, err
		}
	default:
		return a, fmt.Errorf("auth method %q is none of token, approle, kubernetes, jwt", a.Method)
	}
	if a.Secret == nil {
		switch a.Method {
		case "approle":
			a.Secret = func(context.Context) (secret.Text, error) { return secret.Text{}, nil }
		case "kubernetes":
			a.Secret = func(context.Context) (secret.Text, error) {
				content, err := os.ReadFile(serviceAccount)
				return secret.New(string(content)), err
			}
		default:
			return a, fmt.Errorf("auth method %s needs a secret", a.Method)
		}
	}
	return a, nil
}

// session is one Vault token and what is known of its life. The zero session is none.
type session struct {
	token     secret.Text
	started   time.Time     // before it was asked for
	life      time.Duration // what it was first granted; 0: forever, or not known
	expires   time.Time     // zero with life 0
	renewAt   time.Time     // when two thirds of its time are over; zero with life 0
	renewable bool
	uses      int // how many calls it has left; 0: any number, or not known; spent: none
}

// spent is session.uses where no call is left.
const spent = -1

// granted sets the times of a session that has d from now.
func (n session) granted(now time.Time, d time.Duration) session {
	n.expires, n.renewAt = time.Time{}, time.Time{}
	if d > 0 {
		n.expires, n.renewAt = now.Add(d), now.Add(d*2/3)
	}
	return n
}

// sessions keeps the store logged in. Callers who find the session due wait for one login or renewal together.
type sessions struct {
	auth    Auth
	send    func(ctx context.Context, token secret.Text, method, path string, query url.Values, body any) (answer, error)
	timeout time.Duration
	log     *slog.Logger
	now     func() time.Time

	flight singleflight.Group

	mu   sync.Mutex
	held session // guarded by mu
}

// take returns a session for one call. It is counted where the session has few: a call beyond the last one would be
// denied, and callers would spend each other's.
func (k *sessions) take(ctx context.Context) (session, error) {
	for {
		n, err := k.current(ctx)
		if err != nil || k.spend(n) {
			return n, err
		}
	}
}

// spend counts one call of the session. False: it has none left.
func (k *sessions) spend(n session) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.held.token.Equal(n.token) {
		return n.uses == 0 // another session took its place, and nothing counts this one any more
	}
	switch k.held.uses {
	case spent:
		return false
	case 0:
	case 1:
		k.held.uses = spent
	default:
		k.held.uses--
	}
	return true
}

// current returns a session that is not known to be over, logging in or renewing first where that is due.
func (k *sessions) current(ctx context.Context) (session, error) {
	if err := ctx.Err(); err != nil {
		return session{}, err // nothing waits for a login any more
	}
	given, err := k.given(ctx)
	if err != nil {
		return session{}, err
	}
	if held := k.load(); k.usable(held, given) {
		return held, nil
	}
	// The flight outlives a caller who gives up: others may wait for it.
	flight := k.flight.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*k.timeout)
		defer cancel()
		return k.refresh(ctx, given)
	})
	select {
	case <-ctx.Done():
		return session{}, ctx.Err()
	case done := <-flight:
		if done.Err != nil {
			return session{}, done.Err
		}
		return done.Val.(session), nil
	}
}

// given returns the configured token where the method is token, and else nothing.
func (k *sessions) given(ctx context.Context) (secret.Text, error) {
	if k.auth.Method != "token" {
		return secret.Text{}, nil
	}
	return k.credential(ctx)
}

// credential reads what the login needs.
func (k *sessions) credential(ctx context.Context) (secret.Text, error) {
	text, err := k.auth.Secret(ctx)
	switch {
	case ctx.Err() != nil:
		return secret.Text{}, ctx.Err()
	case err != nil:
		return secret.Text{}, fmt.Errorf("%w: %s credential: %w", stores.ErrDenied, k.auth.Method, err)
	}
	text = text.Trimmed()
	if text.Empty() && k.auth.Method != "approle" {
		return secret.Text{}, fmt.Errorf("%w: the %s credential is empty", stores.ErrDenied, k.auth.Method)
	}
	if strings.ContainsFunc(text.Reveal(), func(r rune) bool { return !printable(r) }) {
		return secret.Text{}, fmt.Errorf("%w: the %s credential holds characters that cannot be sent", stores.ErrDenied, k.auth.Method)
	}
	return text, nil
}

// usable reports whether held needs nothing. given is the configured token, if one is configured.
func (k *sessions) usable(held session, given secret.Text) bool {
	if held.token.Empty() || held.uses == spent || !given.Empty() && !given.Equal(held.token) {
		return false
	}
	return held.renewAt.IsZero() || k.now().Before(held.renewAt)
}

func (k *sessions) load() session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.held
}

func (k *sessions) keep(n session) session {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held.token.Equal(n.token) {
		n.uses = k.held.uses // calls went on meanwhile
	}
	k.held = n
	return n
}

// refresh makes the session usable. It runs once at a time.
func (k *sessions) refresh(ctx context.Context, given secret.Text) (session, error) {
	held := k.load()
	if k.usable(held, given) {
		return held, nil // the flight before this one did it
	}
	if !given.Empty() && !given.Equal(held.token) {
		return k.adopt(ctx, given)
	}
	if !held.token.Empty() && held.uses != spent && k.now().Before(held.expires) {
		next, err := k.prolong(ctx, held, given)
		if err == nil {
			return next, nil
		}
		k.log.Warn("the Vault token could not be renewed", "expires", held.expires, "err", err)
		// It still lives: it is used, and tried again after a third of what is left, if there is something to try.
		held.renewAt = k.now().Add(max(held.expires.Sub(k.now())/3, time.Second))
		if !unknown(err) && !given.Empty() {
			held.renewAt = held.expires
		}
		return k.keep(held), nil
	}
	if !given.Empty() {
		return k.adopt(ctx, given) // over, by our clock: only Vault knows
	}
	return k.login(ctx)
}

// prolong renews a session that still lives, or replaces it where Vault does not renew it.
func (k *sessions) prolong(ctx context.Context, held session, given secret.Text) (session, error) {
	err := errNotRenewable
	if held.renewable {
		var renewed session
		if renewed, err = k.renew(ctx, held); err == nil {
			return k.keep(renewed), nil
		}
	}
	if unknown(err) || !given.Empty() {
		return session{}, err
	}
	return k.login(ctx)
}

// unknown reports whether err leaves open what Vault thinks of the call.
func unknown(err error) bool { return !errors.Is(err, stores.ErrDenied) && !errors.Is(err, errRefused) }

// login asks for a new session.
func (k *sessions) login(ctx context.Context) (session, error) {
	credential, err := k.credential(ctx)
	if err != nil {
		return session{}, err
	}
	body := map[string]string{"role": k.auth.Role, "jwt": credential.Reveal()}
	if k.auth.Method == "approle" {
		body = map[string]string{"role_id": k.auth.Role, "secret_id": credential.Reveal()}
	}
	started := k.now()
	got, err := k.send(ctx, secret.Text{}, http.MethodPut, "auth/"+k.auth.Mount+"/login", nil, body)
	switch {
	case errors.Is(err, errRefused): // AppRole and JWT say 400 to a wrong credential
		return session{}, fmt.Errorf("%w: the %s login is refused (status 400)", stores.ErrDenied, k.auth.Method)
	case err != nil:
		return session{}, err
	case got.Auth == nil || got.Auth.Token.Empty():
		return session{}, fmt.Errorf("%s login: %w", k.auth.Method, errUnreadable)
	}
	life := time.Duration(got.Auth.Seconds) * time.Second
	made := session{token: got.Auth.Token, started: started, life: life, renewable: got.Auth.Renewable, uses: max(0, got.Auth.Uses)}
	if made.uses != 0 {
		made.renewable = false // a renewal is a call too; a new login is not
	}
	k.log.Debug("logged in to Vault", "method", k.auth.Method, "life", life)
	return k.keep(made.granted(started, life)), nil
}

// adopt takes over the configured token and asks how long it lives. A token that may not ask is used anyway: the
// call that follows says whether it is good.
func (k *sessions) adopt(ctx context.Context, token secret.Text) (session, error) {
	made := session{token: token, started: k.now()}
	got, err := k.send(ctx, token, http.MethodGet, lookupSelf, nil, nil)
	if err != nil {
		if unknown(err) {
			return session{}, err
		}
		return k.keep(made), nil
	}
	var about struct {
		Seconds   int64 `json:"ttl"`
		Renewable bool  `json:"renewable"`
	}
	if err := got.data(&about); err != nil {
		return session{}, fmt.Errorf("token lookup: %w", err)
	}
	made.life, made.renewable = time.Duration(about.Seconds)*time.Second, about.Renewable
	made = made.granted(made.started, made.life)
	if made.life > 0 && !made.renewable {
		k.log.Warn("the Vault token cannot be renewed: it must be replaced before it expires", "expires", made.expires)
		made.renewAt = made.expires
	}
	return k.keep(made), nil
}

const lookupSelf = "auth/token/lookup-self"

// errNotRenewable: Vault said beforehand that it would not renew the session.
var errNotRenewable = fmt.Errorf("%w: the token cannot be renewed", stores.ErrDenied)

// renew prolongs the session. A token near its greatest age is granted less each time; once that is under half of what
// it began with, a new login is due instead of ever more renewals.
func (k *sessions) renew(ctx context.Context, held session) (session, error) {
	asked := k.now()
	got, err := k.send(ctx, held.token, http.MethodPut, "auth/token/renew-self", nil, struct{}{})
	if err != nil {
		return session{}, err
	}
	if got.Auth == nil {
		return session{}, fmt.Errorf("token renewal: %w", errUnreadable)
	}
	granted := time.Duration(got.Auth.Seconds) * time.Second
	held.renewable = got.Auth.Renewable && granted > held.life/2
	return held.granted(asked, granted), nil
}

// patience is how old a session must be before a denied call alone leads to a new login: a login takes up roles'
// policies that were changed since, but costs a use of a secret id that may have few.
const patience = 5 * time.Minute

// instead returns another session than the one that Vault denied, for one call, or the denial.
func (k *sessions) instead(ctx context.Context, denied session, denial error) (session, error) {
	if k.auth.Method != "token" && k.load().token.Equal(denied.token) {
		if !errors.Is(denial, errSpent) && k.spend(denied) { // asking a spent token says nothing
			_, err := k.send(ctx, denied.token, http.MethodGet, lookupSelf, nil, nil)
			if err != nil && unknown(err) {
				return session{}, err
			}
			if err == nil && k.now().Sub(denied.started) < patience {
				return session{}, denial // the token is good: the right is missing
			}
		}
		k.forget(denied)
	}
	other, err := k.take(ctx)
	if err == nil && other.token.Equal(denied.token) {
		return session{}, denial
	}
	return other, err
}

// forget drops the session, unless another one took its place.
func (k *sessions) forget(n session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held.token.Equal(n.token) {
		k.held = session{}
	}
}
