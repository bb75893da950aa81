package vault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	leave "rotator/internal/guard"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
	"rotator/stores/storetest"
)

// delay loses the answer to the next write of the target at once and delivers the write later.
func delay(proxy *vaulttest.Proxy, target stores.Target) storetest.Delayed {
	sent, arrive := make(chan struct{}), func() {}
	proxy.Inject(1, vaulttest.Calls(http.MethodPut, "/"+target.Path), func(_ http.ResponseWriter, r *http.Request, forward http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		again := r.Clone(context.WithoutCancel(r.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		arrive = func() { forward.ServeHTTP(httptest.NewRecorder(), again) }
		close(sent)
		panic(http.ErrAbortHandler)
	})
	return storetest.Delayed{Sent: sent, Release: func() { arrive() }}
}

// follower answers reads of the target as they were, for some time after it began and after each write.
type follower struct {
	mu   sync.Mutex
	old  *httptest.ResponseRecorder
	till time.Time
}

// serve has the proxy answer like a follower that is behind by lag.
func (f *follower) serve(proxy *vaulttest.Proxy, path string, lag time.Duration) {
	f.till = time.Now().Add(lag)
	proxy.Inject(0, vaulttest.Calls(http.MethodPut, path), func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		f.mu.Lock()
		f.till = time.Now().Add(lag)
		f.mu.Unlock()
		forward.ServeHTTP(w, r)
	})
	proxy.Inject(0, vaulttest.Calls(http.MethodGet, path), func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.old == nil || time.Now().After(f.till) {
			f.old = httptest.NewRecorder()
			forward.ServeHTTP(f.old, r)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.old.Code)
		_, _ = w.Write(f.old.Body.Bytes())
	})
}

// TestFollowerBehind: an older state is waited out, and never taken for another writer's value.
func TestFollowerBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	new(follower).serve(r.proxy, "/data/"+r.target.Path, time.Second)
	ctx := t.Context()
	_, err := r.store.Current(ctx, r.target)
	is(t, err, nil)
	is(t, r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()), nil)
	if got, err := r.store.Current(ctx, r.target); err != nil || !got.Equal(newKey) {
		t.Errorf("the read after the promote brought another value, or the error %v", err)
	}
	is(t, r.store.Fence(ctx, r.target), nil)
	r.holds(t, doc(newKey))
}

// TestFollowerFarBehind: what cannot be waited out is not known, neither a value nor a conflict nor a wrong target.
func TestFollowerFarBehind(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	new(follower).serve(r.proxy, "/data/"+r.target.Path, time.Hour)
	ctx := t.Context()
	_, err := r.store.Current(ctx, r.target)
	is(t, err, nil)
	r.seed(t, doc(oldKey)) // a neighbor field, say; the follower does not know
	err = r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint())
	is(t, err, stores.ErrStale)
	notKnown(t, err)
	r.holds(t, doc(oldKey))
	err = r.store.Fence(ctx, r.target)
	is(t, err, stores.ErrStale)
	notKnown(t, err)
}

// TestFalseNotFound: once the store saw a version, "nothing there" is an older state. It is asked again; if it persists, it
// is not known, and never permission to write. After seenFor it is believed, since secrets do get erased.
func TestFalseNotFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	ctx := t.Context()
	_, err := r.store.Current(ctx, r.target)
	is(t, err, nil)
	reads := vaulttest.Calls(http.MethodGet, "/data/"+r.target.Path)
	r.proxy.Inject(1, reads, vaulttest.Answer(http.StatusNotFound, `{"errors":[]}`))
	got, err := r.store.Current(ctx, r.target)
	is(t, err, nil)
	if !got.Equal(oldKey) {
		t.Error("the read after a false 404 shows another value")
	}
	r.proxy.Inject(0, reads, vaulttest.Answer(http.StatusNotFound, `{"errors":[]}`))
	_, err = r.store.Current(ctx, r.target)
	is(t, err, stores.ErrStale)
	notKnown(t, err)
	is(t, r.store.Promote(ctx, r.target, attempt, newKey, ""), stores.ErrStale)
	r.holds(t, doc(oldKey))
	path := r.target.Path
	r.store.seen.path[path] = seenVersion{r.store.seen.newest(path), time.Now().Add(-seenFor - time.Second)}
	_, err = r.store.Current(ctx, r.target)
	is(t, err, stores.ErrNotFound)
}

// TestOwnWriteNotShown: after its own write the store returns no older value.
func TestOwnWriteNotShown(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, Options{})
	r.seed(t, doc(oldKey))
	new(follower).serve(r.proxy, "/data/"+r.target.Path, time.Hour)
	ctx := t.Context()
	_, err := r.store.Current(ctx, r.target)
	is(t, err, nil)
	is(t, r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()), nil)
	_, err = r.store.Current(ctx, r.target)
	is(t, err, stores.ErrStale)
}

// TestOldVersionBelievedInTime: a secret that was erased and written again counts from 1, so that no version is
// remembered forever.
func TestOldVersionBelievedInTime(t *testing.T) {
	t.Parallel()
	v := versions{}
	v.note("a", 5)
	v.note("a", 3)
	if got := v.newest("a"); got != 5 {
		t.Errorf("the newest version is %d, want 5", got)
	}
	v.path["a"] = seenVersion{5, time.Now().Add(-seenFor - time.Second)}
	v.note("a", 1)
	if got := v.newest("a"); got != 1 {
		t.Errorf("the newest version is %d, want 1", got)
	}
}

// TestNothingLeavesWithoutLease: the context's check stops every change, and neither reads nor logins.
func TestNothingLeavesWithoutLease(t *testing.T) {
	t.Parallel()
	for _, version := range []int{1, 2} {
		r := newRig(t, version, Options{})
		r.seed(t, doc(oldKey))
		lost := errors.New("the lease is lost")
		ctx := leave.With(t.Context(), func() error { return lost })
		if _, err := r.store.Current(ctx, r.target); err != nil {
			t.Errorf("a read was stopped: %v", err)
		}
		is(t, r.store.Check(ctx, r.target), nil)
		is(t, r.store.Stage(ctx, r.target, attempt, newKey), lost)
		is(t, r.store.Promote(ctx, r.target, attempt, newKey, oldKey.Fingerprint()), lost)
		is(t, r.store.Discard(ctx, r.target, attempt), lost)
		if version == 2 {
			is(t, r.store.Fence(ctx, r.target), lost)
		} else {
			is(t, r.store.Fence(ctx, r.target), stores.ErrCannotFence)
		}
		r.holds(t, doc(oldKey))
	}
}
