package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rotator/stores"
)

// engine is one version of the KV secrets engine at one mount.
type engine interface {
	// read returns what the path holds; nothing there is no error. stores.ErrStale: the answer is older than the version
	// atLeast, or than what this store wrote or read there before.
	read(ctx context.Context, path string, atLeast int) (content, error)
	// write makes doc all that the path holds if it still holds the version of was; errMismatch: it
	// does not; errRefused: the engine cannot take doc at all. An engine without check-and-set writes in any case.
	write(ctx context.Context, path string, doc []byte, was content) error
	// erase removes the path with all its versions and traces.
	erase(ctx context.Context, path string) error
	// rights names what the store needs at a target, as API paths.
	rights(target, staged string) []right
	// atomic reports whether write has check-and-set.
	atomic() bool
}

// content is what a path holds.
type content struct {
	doc     []byte // a JSON object; nil: there is nothing, or its newest version is deleted
	version int    // what check-and-set takes: the newest version also when that is deleted; 0 when there never was one
}

// caller sends one call of a logged-in store.
type caller func(ctx context.Context, method, path string, query url.Values, body any) (answer, error)

// do sends a write.
func (c caller) do(ctx context.Context, method, path string, body any) error {
	got, err := c(ctx, method, path, nil, body)
	if err == nil {
		err = got.done()
	}
	return err
}

// kv2 is the engine with versions.
type kv2 struct {
	call  caller
	mount string
	seen  *versions // nil: nothing is remembered
}

// read implements engine. A follower may answer with an older state for a while, so it is asked again for up to staleWait.
func (e kv2) read(ctx context.Context, path string, atLeast int) (content, error) {
	atLeast = max(atLeast, e.seen.newest(path))
	deadline := time.Now().Add(staleWait)
	for {
		held, err := e.at(ctx, path, 0)
		if err != nil {
			return content{}, err
		}
		if held.version >= atLeast {
			e.seen.note(path, held.version)
			return held, nil
		}
		if time.Now().After(deadline) {
			return content{}, stores.ErrStale
		}
		select {
		case <-time.After(stalePause):
		case <-ctx.Done():
			return content{}, ctx.Err()
		}
	}
}

// at reads one version, 0 for the newest.
func (e kv2) at(ctx context.Context, path string, version int) (content, error) {
	var query url.Values
	if version > 0 {
		query = url.Values{"version": {strconv.Itoa(version)}}
	}
	got, err := e.call(ctx, http.MethodGet, e.mount+"/data/"+path, query, nil)
	if err != nil || got.nothing() {
		return content{}, err
	}
	var held struct {
		Data     json.RawMessage `json:"data"`
		Metadata struct {
			Version int `json:"version"`
		} `json:"metadata"`
	}
	if got.data(&held) != nil || held.Metadata.Version < 1 {
		return content{}, errUnreadable
	}
	deleted := got.status == http.StatusNotFound
	if empty := len(held.Data) == 0 || string(held.Data) == "null"; empty != deleted || !empty && held.Data[0] != '{' {
		return content{}, errUnreadable // no version at all is no proof that nothing is there
	}
	if deleted {
		held.Data = nil
	}
	return content{doc: held.Data, version: held.Metadata.Version}, nil
}

func (e kv2) write(ctx context.Context, path string, doc []byte, was content) error {
	body := map[string]any{"data": json.RawMessage(doc), "options": map[string]int{"cas": was.version}}
	err := e.call.do(ctx, http.MethodPut, e.mount+"/data/"+path, body)
	if err == nil {
		e.seen.note(path, was.version+1) // check-and-set leaves no other number
	}
	return err
}

func (e kv2) erase(ctx context.Context, path string) error {
	return e.call.do(ctx, http.MethodDelete, e.mount+"/metadata/"+path, nil)
}

func (e kv2) rights(target, staged string) []right {
	return []right{
		{e.mount + "/data/" + target, []string{"create", "read", "update"}, whyTarget},
		{e.mount + "/data/" + staged, []string{"create", "read", "update"}, whyStaged},
		{e.mount + "/metadata/" + staged, []string{"delete"}, "What was staged goes with all its traces."},
	}
}

func (e kv2) atomic() bool { return true }

// kv1 is the engine without versions.
type kv1 struct {
	call  caller
	mount string
}

func (e kv1) read(ctx context.Context, path string, _ int) (content, error) {
	got, err := e.call(ctx, http.MethodGet, e.mount+"/"+path, nil, nil)
	if err != nil || got.nothing() {
		return content{}, err
	}
	if got.status == http.StatusNotFound || !bytes.HasPrefix(got.Data, []byte("{")) {
		return content{}, errUnreadable
	}
	return content{doc: got.Data}, nil
}

func (e kv1) write(ctx context.Context, path string, doc []byte, _ content) error {
	return e.call.do(ctx, http.MethodPut, e.mount+"/"+path, json.RawMessage(doc))
}

func (e kv1) erase(ctx context.Context, path string) error {
	return e.call.do(ctx, http.MethodDelete, e.mount+"/"+path, nil)
}

func (e kv1) rights(target, staged string) []right {
	return []right{
		{e.mount + "/" + target, []string{"create", "read", "update"}, whyTarget},
		{e.mount + "/" + staged, []string{"create", "read", "update", "delete"}, whyStaged},
	}
}

func (e kv1) atomic() bool { return false }

// call sends one call with the store's session. A denied one is sent again once where another session is to be had: a
// token expires, is spent and is revoked without notice. That is safe for writes too: what was denied had no effect. After an
// answer that makes no sense the next call looks at the mount again: it may have got versions meanwhile, and KV 2 has no
// better answer to a path of KV 1.
func (s *Store) call(ctx context.Context, method, path string, query url.Values, body any) (answer, error) {
	session, err := s.sessions.take(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("login: %w", err)
	}
	got, err := s.send(ctx, session.token, method, path, query, body)
	if errors.Is(err, errUnreadable) {
		s.know(nil)
	}
	if !errors.Is(err, stores.ErrDenied) {
		return got, err
	}
	session, err = s.sessions.instead(ctx, session, err)
	if err != nil {
		return answer{}, err
	}
	return s.send(ctx, session.token, method, path, query, body)
}

// kv returns the engine at the store's mount. Vault is asked at first use, also when the version is configured: the two versions
// take each other's paths for paths of their own, so that a wrong one would find every target empty and write where
// nothing reads.
func (s *Store) kv(ctx context.Context, target string) (engine, error) {
	s.mu.Lock()
	known := s.engine
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	found, err := s.detect(ctx, target)
	if err != nil {
		return nil, err
	}
	s.know(found)
	return found, nil
}

// know remembers what is at the mount; nil: it has to be asked again.
func (s *Store) know(e engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine = e
}

// detect asks what is mounted, by the call that Vault's own command line uses: it needs a right to anything below the
// mount, and none of its own.
func (s *Store) detect(ctx context.Context, target string) (engine, error) {
	got, err := s.call(ctx, http.MethodGet, "sys/internal/ui/mounts/"+s.mount, nil, nil)
	if errors.Is(err, stores.ErrDenied) {
		return nil, s.unseen(ctx, target, err)
	}
	var mounted struct {
		Type    string `json:"type"`
		Path    string `json:"path"`
		Options struct {
			Version string `json:"version"`
		} `json:"options"`
	}
	switch {
	case errors.Is(err, errRefused):
		return nil, fmt.Errorf("%w: no secrets engine at %s/", stores.ErrInvalid, s.mount)
	case err != nil:
		return nil, err
	case got.data(&mounted) != nil || mounted.Type == "" || mounted.Path == "":
		return nil, fmt.Errorf("mount %s: %w", s.mount, errUnreadable)
	case strings.Trim(mounted.Path, "/") != s.mount:
		return nil, fmt.Errorf("%w: %s/ is not a mount but lies in %q", stores.ErrInvalid, s.mount, mounted.Path)
	case mounted.Type != "kv" && mounted.Type != "generic":
		return nil, fmt.Errorf("%w: the mount %s/ is of type %q, not kv", stores.ErrInvalid, s.mount, mounted.Type)
	}
	version := 1
	if mounted.Options.Version == "2" {
		version = 2
	}
	if s.version != 0 && s.version != version {
		return nil, fmt.Errorf("%w: the mount %s/ is KV version %d, not %d as configured", stores.ErrInvalid, s.mount, version, s.version)
	}
	if version == 1 {
		return kv1{s.call, s.mount}, nil
	}
	return kv2{s.call, s.mount, &s.seen}, nil
}

// unseen distinguishes a missing mount from one that the token has no right in: Vault denies both in the same words,
// but answers a read below a missing mount, if the policy allows it, with 404.
func (s *Store) unseen(ctx context.Context, target string, denial error) error {
	for _, path := range []string{s.mount + "/data/" + target, s.mount + "/" + target} {
		if _, err := s.call(ctx, http.MethodGet, path, nil, nil); errors.Is(err, stores.ErrInvalid) {
			return fmt.Errorf("%w (mount %s/)", err, s.mount)
		}
	}
	return fmt.Errorf("no right to anything in the mount %s/: %w", s.mount, denial)
}
