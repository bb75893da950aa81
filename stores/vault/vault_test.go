package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/stores"
	"rotator/stores/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text returns a reference to a fixed secret.
func text(s string) func(context.Context) (secret.Text, error) {
	return func(context.Context) (secret.Text, error) { return secret.New(s), nil }
}

// unhurried is how long a call may take where a test is not about that: the machine may stall.
const unhurried = 5 * time.Minute

// open makes a store of the options, with the server's root token where they have no login.
func open(t *testing.T, server *vaulttest.Server, o Options) *Store {
	t.Helper()
	if o.Address == "" {
		o.Address = server.Address
	}
	if o.Auth.Method == "" {
		o.Auth = Auth{Method: "token", Secret: text(server.RootToken)}
	}
	if o.Timeout == 0 {
		o.Timeout = unhurried
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.client.CloneConfig().HttpClient.CloseIdleConnections()
	})
	return s
}

// TestSuite runs the suite with the rights that Permissions names for its targets, and no others.
func TestSuite(t *testing.T) {
	server := vaulttest.Shared(t)
	for name, tc := range map[string]struct {
		version int
		prefix  string
	}{
		"kv2":                   {version: 2},
		"kv2, staged elsewhere": {version: 2, prefix: "rotator staging/all"},
		"kv1":                   {version: 1},
		"kv1, staged elsewhere": {version: 1, prefix: "staging"},
	} {
		t.Run(name, func(t *testing.T) {
			mount, proxy := server.Mount(t, tc.version), server.Proxy(t)
			o := Options{Address: proxy.Address, Mount: mount, KVVersion: tc.version, StagingPrefix: tc.prefix}
			rights := entitle(t, server, o)
			o.Auth = Auth{Method: "token", Secret: text(server.BareToken(t, time.Hour, rights.policy))}
			storetest.Run(t, storetest.Harness{
				Store: open(t, server, o),
				Structured: func(t *testing.T) stores.Target {
					target := stores.Target{Path: "llm/" + server.Name("chat"), Field: "api_key"}
					rights.add(t, target)
					return target
				},
				Seed: func(t *testing.T, target stores.Target, doc string) {
					if tc.version == 1 && doc == "{}" {
						server.Delete(t, mount, target.Path) // KV 1 has no empty secrets
						return
					}
					server.Write(t, mount, target.Path, holdable(t, tc.version, doc, false))
				},
				Read: func(t *testing.T, target stores.Target) (string, bool) {
					doc, found := server.Read(t, mount, target.Path)
					return holdable(t, tc.version, doc, true), found
				},
				Leftovers: func(t *testing.T, target stores.Target) []string {
					folder := target.Path + ".rotator"
					if tc.prefix != "" {
						folder = tc.prefix + "/" + target.Path
					}
					return server.List(t, mount, folder)
				},
				Race: func(t *testing.T, target stores.Target, human func()) {
					proxy.Inject(1, vaulttest.Calls(http.MethodPut, "/"+target.Path), vaulttest.Before(human))
				},
				Delay:         func(t *testing.T, target stores.Target) storetest.Delayed { return delay(proxy, target) },
				Alias:         func(_ *testing.T, target stores.Target) (stores.Target, bool) { return stores.Target{}, false },
				CannotFence:   tc.version == 1,
				CanStage:      true,
				StagesEmpty:   true,
				KeepsPrevious: tc.version == 2,
				HasCAS:        tc.version == 2,
			})
		})
	}
}

// holdable replaces numbers that KV 2 cannot answer as they were written, since it decodes them as 64-bit floats for every
// reader, by texts that name them; back turns them into numbers again. What happens to such numbers themselves is for
// TestPromoteKeepsNumbersAsRead.
func holdable(t *testing.T, version int, doc string, back bool) string {
	t.Helper()
	if version == 1 || doc == "" {
		return doc
	}
	const mark = "number "
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				v[name] = walk(member)
			}
		case []any:
			for i, member := range v {
				v[i] = walk(member)
			}
		case json.Number:
			f, err := strconv.ParseFloat(v.String(), 64)
			if shown, _ := json.Marshal(f); err != nil || string(shown) != v.String() {
				return mark + v.String()
			}
		case string:
			if number, is := strings.CutPrefix(v, mark); is && back {
				return json.Number(number)
			}
		}
		return v
	}
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(walk(members)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// silent checks that an error shows nothing of the values.
func silent(t *testing.T, err error, values ...secret.Text) {
	t.Helper()
	for _, value := range values {
		if err != nil && strings.Contains(err.Error(), value.Reveal()) {
			t.Errorf("the error shows a value: %v", err)
		}
	}
}
