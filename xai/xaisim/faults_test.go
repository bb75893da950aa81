package xaisim_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

// trip sends a create without a socket.
func (w *world) trip(method, path, body string) (*http.Response, error) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "https://management-api.x.ai"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token.Reveal())
	return w.Transport().RoundTrip(r)
}

const newKey = `{"name":"made","acls":["api-key:model:*"]}`

func TestFaultsBeforeAfterAndLate(t *testing.T) {
	t.Parallel()
	for when, counts := range map[xaisim.When][2]int{xaisim.Before: {0, 0}, xaisim.After: {1, 1}, xaisim.Late: {0, 1}} {
		w := newWorld(t, xaisim.Options{})
		w.Inject(xaisim.Fault{Call: "create", When: when, Delay: time.Minute, Kind: xaisim.Reset})
		if _, err := w.trip("POST", "/auth/teams/"+team+"/api-keys", newKey); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("when %d: %v", when, err)
		}
		at := w.Now().Add(time.Minute)
		now := len(w.listed())
		w.Advance(time.Hour)
		keys := w.Live(team)
		if now != counts[0] || len(keys) != counts[1] {
			t.Errorf("when %d: %d at once, %d in the end", when, now, len(keys))
		}
		if when == xaisim.Late && !keys[0].Created.Equal(at) {
			t.Errorf("landed at %v, want %v", keys[0].Created, at)
		}
		if res, err := w.trip("POST", "/auth/teams/"+team+"/api-keys", newKey); err != nil || res.StatusCode != 200 {
			t.Errorf("the fault was for one call: %v", err)
		}
	}
}

// A late disable finds the world as it is when it lands, and a late call that is refused then has no effect.
func TestLateEffects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, _ := w.AddKey(team, "k", "api-key:model:*")
	gone, _ := w.AddKey(team, "gone", "api-key:model:*")
	w.Inject(xaisim.Fault{Call: "update", Count: 2, When: xaisim.Late, Delay: time.Minute, Kind: xaisim.Timeout})
	for _, id := range []string{id, gone} {
		if _, err := w.trip("PUT", "/auth/api-keys/"+id, `{"apiKey":{"disabled":true},"fieldMask":"disabled"}`); err == nil {
			t.Error("no error")
		}
	}
	w.DeleteKey(gone)
	w.EnableKey(id)
	w.Advance(time.Minute)
	if k := w.Live(team); len(k) != 1 || !k[0].Disabled {
		t.Errorf("%+v", k)
	}
}

func TestFaultsOfEachKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	path := "/auth/teams/" + team + "/api-keys"
	server := httptest.NewServer(w)
	defer server.Close()
	transport := &http.Transport{DisableKeepAlives: true}
	over := map[string]func(time.Duration) (*http.Response, error){
		"transport": func(time.Duration) (*http.Response, error) { return w.trip("POST", path, newKey) },
		"socket": func(timeout time.Duration) (*http.Response, error) {
			client := &http.Client{Transport: transport, Timeout: timeout}
			r, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL+path, strings.NewReader(newKey))
			r.Header.Set("Authorization", "Bearer "+w.token.Reveal())
			return client.Do(r)
		},
	}
	for way, call := range over {
		for kind, want := range map[xaisim.Kind]string{
			xaisim.Reset: "error", xaisim.Timeout: "error", xaisim.Status: "503 no healthy upstream", xaisim.HalfBody: "200 {... broken",
			xaisim.Garbage: "200 \x00\xff{\"apiKey\":", xaisim.HugeBody: "200 " + `{"name":"xxxx`, xaisim.EmptyObject: "200 {}", xaisim.Rewrite: `200 {"apiKeyId":"other"}`,
		} {
			w.Inject(xaisim.Fault{Call: "create", When: xaisim.After, Kind: kind, Body: "no healthy upstream", Rewrite: func(o map[string]any) {
				clear(o)
				o["apiKeyId"] = "other"
			}})
			timeout := time.Minute
			if kind == xaisim.Timeout {
				timeout = 10 * time.Second // the create must have had its effect by then
			}
			got := "error"
			if res, err := call(timeout); err == nil {
				limit := int64(1 << 16)
				if kind == xaisim.HugeBody {
					limit = 13
				}
				b, err := io.ReadAll(io.LimitReader(res.Body, limit))
				_ = res.Body.Close()
				got = fmt.Sprint(res.StatusCode, " ", string(b))
				if err != nil && strings.HasPrefix(string(b), `{"aclStrings":`) {
					got = "200 {... broken"
				}
			}
			if got != want {
				t.Errorf("%s, kind %d: got %q, want %q", way, kind, got, want)
			}
		}
	}
	if n := len(w.Live(team)); n != 16 {
		t.Errorf("%d keys of 16 creates", n)
	}
}

func TestFaultsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	w.Inject(xaisim.Fault{Call: "validate", Skip: 1, Count: 2, Kind: xaisim.Status, Status: 500}, xaisim.Fault{Call: "list", Count: -1, Kind: xaisim.Status})
	var got []int
	for range 5 {
		got = append(got, w.manage("GET", "/auth/management-keys/validation", "").status)
	}
	for range 3 {
		got = append(got, w.manage("GET", "/auth/teams/"+team+"/api-keys", "").status)
	}
	w.ClearFaults()
	got = append(got, w.manage("GET", "/auth/teams/"+team+"/api-keys", "").status)
	if !slices.Equal(got, []int{200, 500, 500, 200, 200, 503, 503, 503, 200}) {
		t.Errorf("got %v", got)
	}
	if c := w.Calls(); c["validate"] != 5 || c["list"] != 4 || len(c) != 2 {
		t.Errorf("calls %v", c)
	}
}

func TestLies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	w.Inject(xaisim.LieOtherKey(1, "other"), xaisim.LieNotPropagated(1), xaisim.LieSameCursor(3), xaisim.LieWithout("create", 1, "apiKeyId"))
	if r := w.whoami(value); r.str("api_key_id") != "other" {
		t.Error(r.body)
	}
	if r := w.manage("GET", "/auth/api-keys/"+id+"/propagation", ""); strings.Contains(r.body, "true") || !strings.Contains(r.body, "false") {
		t.Error(r.body)
	}
	token := ""
	for range 3 {
		r := w.manage("GET", "/auth/teams/"+team+"/api-keys?pageSize=1&paginationToken="+token, "")
		if next := r.str("paginationToken"); r.status != 200 || next == "" || token != "" && next != token || !strings.Contains(r.body, id) {
			t.Error(r.body)
		}
		token = r.str("paginationToken")
	}
	if r := w.manage("POST", "/auth/teams/"+team+"/api-keys", newKey); r.o["apiKeyId"] != nil || r.o["apiKey"] == nil {
		t.Error(r.body)
	}
	if r := w.whoami(value); r.str("api_key_id") != id {
		t.Error(r.body)
	}
}

// Hooks run around each effect and may ask the simulator; a panic in one is a crash of the caller at that point.
func TestHooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	var seen []string
	w.OnCall(func(c xaisim.Call) {
		seen = append(seen, fmt.Sprintf("%s %s %v %d: %d keys", c.Op, c.ID, c.Done, c.Status, len(w.Live(team))))
		if c.Done && len(seen) == 4 {
			panic("crash")
		}
	})
	id, _ := w.create("k")
	func() {
		defer func() {
			if recover() != "crash" {
				t.Error("no crash")
			}
		}()
		_, _ = w.trip("DELETE", "/auth/api-keys/"+id, "")
	}()
	want := []string{"create team-1 false 0: 0 keys", "create team-1 true 200: 1 keys",
		"delete " + id + " false 0: 1 keys", "delete " + id + " true 200: 0 keys"}
	if !slices.Equal(seen, want) {
		t.Errorf("got %q", seen)
	}
	if w.Accepts(secret.New("xai-nobody")) {
		t.Error("accepts anything")
	}
}

func TestForgetsTheOldestDeletedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	first, value := w.AddKey(team, "first", "api-key:model:*")
	w.DeleteKey(first)
	for range 6000 {
		id, _ := w.AddKey(team, "k", "api-key:model:*")
		w.DeleteKey(id)
	}
	if n := len(w.Keys(team)); n > 5000 {
		t.Errorf("%d deleted keys are kept", n)
	}
	if r := w.whoami(value); r.status != 400 || w.DisableKey(first) {
		t.Errorf("%d %s", r.status, r.body)
	}
}
