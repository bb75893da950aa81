//go:build deploy

package kubernetes

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotator/internal/testenv/kubetest"
	"rotator/stores"
	"rotator/stores/storetest"
)

// store makes a store that speaks to the cluster with the token. Its calls may take their time: the machine may stall.
func store(t *testing.T, o Options) *Store {
	t.Helper()
	o.Timeout = 5 * time.Minute
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.connections.CloseIdleConnections)
	return s
}

// administrator is a store with every right.
func administrator(t *testing.T, c *kubetest.Cluster) *Store {
	t.Helper()
	return store(t, Options{Server: c.Address, CACert: c.CAFile(t), Token: text(c.Token)})
}

// secretPath is the API's path of a target's Secret.
func secretPath(t stores.Target, suffix string) string {
	namespace, name, _ := strings.Cut(t.Path, "/")
	return "api/v1/namespaces/" + namespace + "/secrets/" + name + suffix
}

// human writes a Secret's data and other members as a person with kubectl would, whether it is there or not.
func human(t *testing.T, c *kubetest.Cluster, target stores.Target, data map[string][]byte, more map[string]any) {
	t.Helper()
	namespace, name, _ := strings.Cut(target.Path, "/")
	object := map[string]any{"data": data, "metadata": map[string]any{"name": name}}
	for member, value := range more {
		object[member] = value
	}
	if !c.Do(t, http.MethodPut, secretPath(target, ""), object, nil) {
		c.Do(t, http.MethodPost, "api/v1/namespaces/"+namespace+"/secrets", object, nil)
	}
}

// look returns what the target's Secret, or the one beside it, holds.
func look(t *testing.T, c *kubetest.Cluster, target stores.Target, suffix string) (o object, found bool) {
	t.Helper()
	found = c.Do(t, http.MethodGet, secretPath(target, suffix), nil, &o)
	return o, found
}

// TestSuite runs the suite with the Role that Permissions names for its targets, and no other rights.
func TestSuite(t *testing.T) {
	c := kubetest.Shared(t)
	namespace := c.Namespace(t, nil)
	between := newInterposer(t, c)
	s := store(t, Options{Server: between.address, Token: text(bound(t, c, namespace))})
	rights := entitlement{c: c}
	storetest.Run(t, storetest.Harness{
		Store: s,
		Structured: func(t *testing.T) stores.Target {
			target := stores.Target{Path: namespace + "/" + c.Name("chat"), Field: "api_key"}
			rights.add(t, s, target)
			return target
		},
		Seed: func(t *testing.T, target stores.Target, doc string) { human(t, c, target, data(t, doc), nil) },
		Read: func(t *testing.T, target stores.Target) (string, bool) {
			held, found := look(t, c, target, "")
			return document(t, held.Data), found
		},
		Leftovers: func(t *testing.T, target stores.Target) []string {
			held, found := look(t, c, target, suffix)
			var left []string
			for key := range held.Data {
				if !strings.HasPrefix(key, "previous-") {
					left = append(left, key)
				}
			}
			if found && len(held.Data) == 0 {
				left = append(left, "an empty Secret")
			}
			return left
		},
		Race: func(_ *testing.T, target stores.Target, human func()) {
			between.before(http.MethodPatch, "/"+secretPath(target, ""), human)
		},
		Delay: func(_ *testing.T, target stores.Target) storetest.Delayed {
			sent, release := make(chan struct{}), make(chan struct{})
			between.before(http.MethodPatch, "/"+secretPath(target, ""), func() { close(sent); <-release })
			return storetest.Delayed{Sent: sent, Release: func() { close(release) }}
		},
		CanStage:      true,
		StagesEmpty:   true,
		KeepsPrevious: true,
		HasCAS:        true,
	})
}

// A Secret's data has no types and few characters in its names. For the suite, a member that is no text becomes bytes
// that are none, and an odd name one that says so.
const (
	noText  = "\xff"
	oddName = "odd-"
)

func data(t *testing.T, doc string) map[string][]byte {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &members); err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for name, member := range members {
		if !fieldForm.MatchString(name) {
			name = oddName + hex.EncodeToString([]byte(name))
		}
		var value *string
		switch {
		case json.Unmarshal(member, &value) != nil:
			all[name] = []byte(noText + string(member))
		case value == nil && name != "api_key":
			all[name] = []byte(noText + "null")
		case value == nil:
			all[name] = nil
		default:
			all[name] = []byte(*value)
		}
	}
	return all
}

func document(t *testing.T, data map[string][]byte) string {
	t.Helper()
	members := map[string]any{}
	for name, value := range data {
		if odd, is := strings.CutPrefix(name, oddName); is {
			decoded, err := hex.DecodeString(odd)
			if err != nil {
				t.Fatal(err)
			}
			name = string(decoded)
		}
		if raw, is := strings.CutPrefix(string(value), noText); is {
			members[name] = json.RawMessage(raw)
			continue
		}
		members[name] = string(value)
	}
	doc, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// interposer is between a store and the cluster, to do something before one call, or in place of it.
type interposer struct {
	address string

	mu    sync.Mutex
	next  []interposed // guarded by mu
	calls []string     // method and path; guarded by mu
}

type interposed struct {
	method, path string
	do           func(w http.ResponseWriter, r *http.Request, forward http.Handler)
}

func newInterposer(t *testing.T, c *kubetest.Cluster) *interposer {
	t.Helper()
	forward, err := c.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	i := &interposer{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if do := i.due(r); do != nil {
			do(w, r, forward)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	i.address = front.URL
	return i
}

// due notes the call and returns what is to happen in its place, once.
func (i *interposer) due(r *http.Request) func(http.ResponseWriter, *http.Request, http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls = append(i.calls, r.Method+" "+r.URL.Path)
	at := slices.IndexFunc(i.next, func(n interposed) bool {
		return n.method == r.Method && n.path == r.URL.Path && !r.URL.Query().Has("dryRun")
	})
	if at < 0 {
		return nil
	}
	do := i.next[at].do
	i.next = slices.Delete(i.next, at, at+1)
	return do
}

// instead answers the next such call with do.
func (i *interposer) instead(method, path string, do func(http.ResponseWriter, *http.Request, http.Handler)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next = append(i.next, interposed{method, path, do})
}

// before runs human and then lets the next such call pass.
func (i *interposer) before(method, path string, human func()) {
	i.instead(method, path, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		human()
		forward.ServeHTTP(w, r)
	})
}
