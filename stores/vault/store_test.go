package vault

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
)

const attempt = "01890000-0000-7000-8000-000000000001"

var (
	oldKey = secret.New("xai-old-0000000000000000000000000000000000")
	newKey = secret.New("xai-new-1111111111111111111111111111111111")
)

// rig is a store behind a proxy on a mount of its own.
type rig struct {
	*vaulttest.Server
	store  *Store
	proxy  *vaulttest.Proxy
	mount  string
	target stores.Target
}

func newRig(t *testing.T, version int, o Options) *rig {
	t.Helper()
	server := vaulttest.Shared(t)
	r := &rig{Server: server, proxy: server.Proxy(t), mount: server.Mount(t, version), target: stores.Target{Path: "llm/chat", Field: "api_key"}}
	o.Address, o.Mount = r.proxy.Address, r.mount
	r.store = open(t, server, o)
	return r
}

func (r *rig) seed(t *testing.T, doc string) {
	t.Helper()
	r.Write(t, r.mount, r.target.Path, doc)
}

func (r *rig) holds(t *testing.T, doc string) {
	t.Helper()
	if got, _ := r.Read(t, r.mount, r.target.Path); got != doc {
		t.Errorf("the secret holds %s, want %s", got, doc)
	}
}

func doc(key secret.Text) string { return `{"api_key":"` + key.Reveal() + `","other":"kept"}` }

// is checks the error's meaning, and that it shows neither key.
func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
	silent(t, err, oldKey, newKey)
}

// notKnown checks that err is an error with none of the contract's meanings.
func notKnown(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
	}
	for _, meaning := range []error{stores.ErrNotFound, stores.ErrConflict, stores.ErrNoStaging, stores.ErrDenied, stores.ErrInvalid} {
		if errors.Is(err, meaning) {
			t.Errorf("the error %v means %v", err, meaning)
		}
	}
	silent(t, err, oldKey, newKey)
}

func TestPromoteOverWhatWasRemoved(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(*testing.T, *rig){
		"deleted":   func(t *testing.T, r *rig) { r.Delete(t, r.mount, r.target.Path) },
		"destroyed": func(t *testing.T, r *rig) { r.Destroy(t, r.mount, r.target.Path, 2) },
		"erased":    func(t *testing.T, r *rig) { r.Erase(t, r.mount, r.target.Path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, Options{})
			r.seed(t, doc(oldKey))
			r.seed(t, doc(oldKey))
			remove(t, r)
			_, err := r.store.Current(t.Context(), r.target)
			is(t, err, stores.ErrNotFound)
			is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()), stores.ErrConflict)
			is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, ""), nil)
			r.holds(t, `{"api_key":"`+newKey.Reveal()+`"}`)
		})
	}
}

func TestCheckAndSetRequired(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	if _, err := r.Root().Logical().Write(r.mount+"/config", map[string]any{"cas_required": true}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		is(t, r.store.Stage(t.Context(), r.target, attempt, newKey), nil)
	}
	is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, ""), nil)
	is(t, r.store.Promote(t.Context(), r.target, attempt, oldKey, newKey.Fingerprint()), nil)
	is(t, r.store.Discard(t.Context(), r.target, attempt), nil)
	r.holds(t, `{"api_key":"`+oldKey.Reveal()+`"}`)
}

// TestAnswerLost loses the answer to each write after its effect: the caller hears "not known", and the second call is
// the same as the first.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := newRig(t, version, Options{})
		r.seed(t, doc(oldKey))
		ctx := t.Context()
		is(t, r.store.Check(ctx, r.target), nil) // so that the session is there
		for _, fault := range []vaulttest.Fault{vaulttest.Drop(), vaulttest.Lose(), vaulttest.Answer(503, `{"errors":["`+newKey.Reveal()+`"]}`)} {
			for _, call := range []func() error{
				func() error { return r.store.Stage(ctx, r.target, attempt, newKey) },
				func() error { return r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()) },
				func() error { return r.store.Discard(ctx, r.target, attempt) },
			} {
				r.proxy.Inject(1, func(q *http.Request) bool { return q.Method != http.MethodGet }, fault)
				notKnown(t, call())
				is(t, call(), nil)
			}
			r.holds(t, doc(newKey))
			r.seed(t, doc(oldKey))
			if left := r.List(t, r.mount, r.target.Path+".rotator"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		}
	}
}

// TestPromoteKeepsNumbersAsRead: whatever a consumer reads of a number before a promote, it reads after it.
func TestPromoteKeepsNumbersAsRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, `{"api_key":"`+oldKey.Reveal()+`","big":123456789012345678901234567890,"float":1.10,"small":5e-324}`)
	before, _ := r.Read(t, r.mount, r.target.Path)
	is(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()), nil)
	is(t, r.store.Promote(t.Context(), r.target, attempt, oldKey, newKey.Fingerprint()), nil)
	r.holds(t, before)
	r.seed(t, `{"api_key":"`+oldKey.Reveal()+`","huge":1e400}`) // which no one can read
	_, err := r.store.Current(t.Context(), r.target)
	notKnown(t, err)
	notKnown(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()))
}

func TestRestlessSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	writes := 0
	r.proxy.Inject(0, vaulttest.Calls(http.MethodPut, "/data/"), vaulttest.Before(func() {
		writes++
		r.seed(t, doc(oldKey))
	}))
	notKnown(t, r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint()))
	if writes != putTries {
		t.Errorf("%d writes, want %d", writes, putTries)
	}
	r.holds(t, doc(oldKey))
}

// TestOverwrittenAtOnce: KV 1 cannot prevent it, but Promote does not claim success.
func TestOverwrittenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, Options{})
	r.seed(t, doc(oldKey))
	promote := func() error {
		return r.store.Promote(t.Context(), r.target, attempt, newKey, oldKey.Fingerprint())
	}
	reads := 0
	r.proxy.Inject(0, vaulttest.Calls(http.MethodGet, r.mount+"/llm"), vaulttest.Before(func() {
		if reads++; reads == 2 {
			r.seed(t, `{"api_key":"theirs"}`)
		}
	}))
	notKnown(t, promote())
	is(t, promote(), stores.ErrConflict)
	r.holds(t, `{"api_key":"theirs"}`)
}

func TestOddPaths(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := newRig(t, version, Options{})
		for _, path := range []string{"a", "a b/c", "100%", "a%2Fb", "q?x=1#f", "ключ/鍵 🔑", "a+b&c=d", `quo"te\`, "data/metadata", "a*b", ".a", "ü;,:@"} {
			target := stores.Target{Path: path}
			for range 2 {
				is(t, r.store.Stage(t.Context(), target, attempt, newKey), nil)
			}
			is(t, r.store.Promote(t.Context(), target, attempt, newKey, ""), nil)
			is(t, r.store.Discard(t.Context(), target, attempt), nil)
			if doc, _ := r.Read(t, r.mount, path); doc != `{"value":"`+newKey.Reveal()+`"}` {
				t.Errorf("KV %d %s holds %s", version, path, doc)
			}
			if left := r.List(t, r.mount, path+".rotator"); len(left) > 0 {
				t.Errorf("KV %d %s leaves %q", version, path, left)
			}
		}
	}
}

func TestInvalidTargets(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	for name, target := range map[string]stores.Target{
		"no path":   {},
		"absolute":  {Path: "/a"},
		"folder":    {Path: "a/"},
		"up":        {Path: "../../sys/policy/x"},
		"dot":       {Path: "a/./b"},
		"two dots":  {Path: "a..b"},
		"double":    {Path: "a//b"},
		"control":   {Path: "a\x00b"},
		"newline":   {Path: "a\nb"},
		"not UTF-8": {Path: "a\xffb"},
		"options":   {Path: "a", Options: map[string]string{"mode": "0600"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, current := r.store.Current(t.Context(), target)
			is(t, current, stores.ErrInvalid)
			is(t, r.store.Promote(t.Context(), target, attempt, newKey, ""), stores.ErrInvalid)
			is(t, r.store.Stage(t.Context(), target, attempt, newKey), stores.ErrInvalid)
		})
	}
	is(t, r.store.Stage(t.Context(), stores.Target{Path: "a."}, attempt, newKey), stores.ErrInvalid) // a..rotator
	for _, attempt := range []string{"", "..", "a/../b", "a\nb"} {
		is(t, r.store.Stage(t.Context(), r.target, attempt, newKey), stores.ErrInvalid)
		is(t, r.store.Discard(t.Context(), r.target, attempt), stores.ErrInvalid)
	}
	is(t, r.store.Stage(t.Context(), r.target, attempt, secret.Text{}), stores.ErrInvalid)
	is(t, r.store.Promote(t.Context(), r.target, attempt, secret.Text{}, ""), stores.ErrInvalid)
	if seen := r.proxy.Seen(); len(seen) > 2 { // the lookups of the token and the mount
		t.Errorf("Vault was asked: %v", seen)
	}
}

func TestPrevious(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	ctx := t.Context()
	r.seed(t, doc(oldKey))             // 1
	r.seed(t, `{"api_key":7}`)         // 2
	r.seed(t, `{"other":"no key"}`)    // 3
	r.seed(t, `{"api_key":"deleted"}`) // 4
	r.Delete(t, r.mount, r.target.Path)
	r.seed(t, doc(newKey)) // 5
	r.Destroy(t, r.mount, r.target.Path, 3)
	got, err := r.store.Previous(ctx, r.target, oldKey.Fingerprint())
	if is(t, err, nil); !got.Equal(oldKey) {
		t.Error("another value")
	}
	_, err = r.store.Previous(ctx, r.target, newKey.Fingerprint())
	is(t, err, stores.ErrNotFound)
	r.Delete(t, r.mount, r.target.Path) // the current one: the former ones are still there
	if _, err = r.store.Previous(ctx, r.target, oldKey.Fingerprint()); err != nil {
		t.Error(err)
	}
	if _, err := r.Root().Logical().Write(r.mount+"/metadata/"+r.target.Path, map[string]any{"max_versions": 1, "delete_version_after": "1h"}); err != nil {
		t.Fatal(err)
	}
	r.seed(t, doc(newKey))
	_, err = r.store.Previous(ctx, r.target, oldKey.Fingerprint())
	is(t, err, stores.ErrNotFound)
	// A version that will be deleted is not deleted yet.
	if got, err := r.store.Current(ctx, r.target); err != nil || !got.Equal(newKey) {
		t.Error(err)
	}
	if got, err := r.store.Warnings(ctx, []stores.Target{r.target}); err != nil || len(got) != 2 {
		t.Errorf("warnings %+v, %v", got, err)
	}
}

func TestSealed(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	s := open(t, server, Options{})
	target := stores.Target{Path: "a"}
	is(t, s.Promote(t.Context(), target, attempt, oldKey, ""), nil)
	server.Seal(t)
	_, current := s.Current(t.Context(), target)
	_, staged := s.Staged(t.Context(), target, attempt)
	for _, err := range []error{
		current, staged, s.Stage(t.Context(), target, attempt, newKey), s.Discard(t.Context(), target, attempt),
		s.Promote(t.Context(), target, attempt, newKey, oldKey.Fingerprint()), s.Check(t.Context(), target),
	} {
		notKnown(t, err)
	}
	server.Unseal(t)
	is(t, s.Promote(t.Context(), target, attempt, newKey, oldKey.Fingerprint()), nil)
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	_, err := r.store.Current(t.Context(), r.target) // so that login and mount are known
	is(t, err, stores.ErrNotFound)
	r.store.timeout = time.Second
	r.proxy.Inject(0, nil, vaulttest.Delay(time.Hour))
	_, err = r.store.Current(t.Context(), r.target)
	notKnown(t, err)
	is(t, err, context.DeadlineExceeded)
}

// TestUpgradedMount: `vault kv enable-versioning` moves every secret to other paths, under a store that is running.
func TestUpgradedMount(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, Options{})
	r.seed(t, doc(oldKey))
	ctx := t.Context()
	is(t, r.store.Stage(ctx, r.target, attempt, newKey), nil)
	r.Upgrade(t, r.mount)
	notKnown(t, r.store.Discard(ctx, r.target, attempt)) // nothing is taken for done in the old place
	staged, err := r.store.Staged(ctx, r.target, attempt)
	is(t, err, nil)
	if !staged.Equal(newKey) {
		t.Error("what was staged is another value")
	}
	is(t, r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()), nil)
	is(t, r.store.Discard(ctx, r.target, attempt), nil)
	r.holds(t, doc(newKey))
	if left := r.List(t, r.mount, r.target.Path+".rotator"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
