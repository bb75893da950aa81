package xaisim_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

// A key reaches cluster after cluster; a request lands on any of them, or on the one that it names.
func TestPropagation(t *testing.T) {
	t.Parallel()
	next := time.Duration(0)
	w := newWorld(t, xaisim.Options{Clusters: []string{"a.api.x.ai", "b.api.x.ai"}, Propagation: func(*rand.Rand) time.Duration {
		next += time.Second
		return next
	}})
	id, value := w.create("k")
	statuses := func() (seen []int) {
		for range 64 {
			if s := w.whoami(value).status; !slices.Contains(seen, s) {
				seen = append(seen, s)
			}
		}
		slices.Sort(seen)
		return seen
	}
	for i, want := range []struct {
		a, b     bool
		statuses []int
	}{{false, false, []int{400}}, {true, false, []int{200, 400}}, {true, true, []int{200}}} {
		r := w.manage("GET", "/auth/api-keys/"+id+"/propagation", "")
		p := r.o["icPropagation"].(map[string]any)
		if p["a.api.x.ai"] != want.a || p["b.api.x.ai"] != want.b || w.Accepts(value) != (want.a && want.b) {
			t.Errorf("after %d s: %v, accepts %v", i, p, w.Accepts(value))
		}
		if got := statuses(); !slices.Equal(got, want.statuses) {
			t.Errorf("after %d s: answers %v", i, got)
		}
		w.Advance(time.Second)
	}
}

func TestListsLagBehindUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{UpdateLag: 30 * time.Second})
	id, _ := w.create("k")
	name := func() any {
		for _, k := range w.manage("GET", "/auth/teams/"+team+"/api-keys", "").o["apiKeys"].([]any) {
			if k := k.(map[string]any); k["apiKeyId"] == id {
				return k["name"]
			}
		}
		return nil
	}
	for i, want := range []string{"k", "k", "a", "b"} {
		if i < 2 {
			w.manage("PUT", "/auth/api-keys/"+id, `{"apiKey":{"name":"`+[]string{"a", "b"}[i]+`"},"fieldMask":"name"}`)
		}
		if got := name(); got != want {
			t.Errorf("step %d: listed as %v, want %s", i, got, want)
		}
		w.Advance(15*time.Second + time.Duration(i/2)*time.Millisecond)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{ListLag: 30 * time.Second})
	id, _ := w.create("k")
	if w.listed()[id] {
		t.Error("listed at once")
	}
	w.Advance(30 * time.Second)
	if !w.listed()[id] {
		t.Error("not listed after the lag")
	}
	w.manage("DELETE", "/auth/api-keys/"+id, "")
	if !w.listed()[id] {
		t.Error("unlisted at once")
	}
	w.Advance(30 * time.Second)
	if w.listed()[id] {
		t.Error("listed forever")
	}

	// Pages hold while keys come and go between them.
	var old []string
	for i := range 40 {
		id, _ := w.AddKey(team, fmt.Sprint(i), "api-key:model:*")
		old = append(old, id)
	}
	seen, token := map[string]int{}, ""
	for page := 0; ; page++ {
		r := w.manage("GET", "/auth/teams/"+team+"/api-keys?pageSize=7&paginationToken="+token, "")
		for _, k := range r.o["apiKeys"].([]any) {
			seen[k.(map[string]any)["apiKeyId"].(string)]++
		}
		w.AddKey(team, fmt.Sprint("new", page), "api-key:model:*")
		w.DeleteKey(old[page])
		w.Advance(time.Minute)
		if token = r.str("paginationToken"); token == "" {
			break
		}
	}
	for i, id := range old[10:] {
		if seen[id] != 1 {
			t.Errorf("key %d was listed %d times", i+10, seen[id])
		}
	}
}

func TestDeleteLag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{DeleteLag: time.Minute})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	if r := w.manage("DELETE", "/auth/api-keys/"+id, ""); r.status != 200 || r.body != "{}" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.manage("DELETE", "/auth/api-keys/"+id, ""); r.status != 404 {
		t.Errorf("twice: %d", r.status)
	}
	if !w.Accepts(value) || w.whoami(value).status != 200 || !w.Keys(team)[0].Deleted {
		t.Error("not accepted within the lag")
	}
	w.Advance(time.Minute)
	if w.Accepts(value) || w.whoami(value).status != 400 {
		t.Error("accepted after the lag")
	}
}

// The nasty one: a disable that lands after someone has enabled the key again.
func TestDisableLag(t *testing.T) {
	t.Parallel()
	for _, wins := range []bool{false, true} {
		w := newWorld(t, xaisim.Options{DisableLag: time.Minute, EnableLag: time.Second, LateDisableWins: wins})
		id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
		set := func(disabled bool) {
			r := w.manage("PUT", "/auth/api-keys/"+id, fmt.Sprintf(`{"apiKey":{"disabled":%v},"fieldMask":"disabled"}`, disabled))
			if r.status != 200 || r.o["disabled"] != disabled || r.o["apiKey"] != nil {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		set(true)
		if !w.Accepts(value) {
			t.Error("disabled at once")
		}
		w.Advance(time.Minute)
		if r := w.whoami(value); w.Accepts(value) || r.status != 403 {
			t.Errorf("not disabled after the lag: %d", r.status)
		}
		set(false)
		if w.Accepts(value) {
			t.Error("enabled at once")
		}
		w.Advance(time.Second)
		if !w.Accepts(value) {
			t.Error("not enabled after the lag")
		}
		set(true)
		w.Advance(30 * time.Second)
		set(false)
		w.Advance(time.Hour)
		if w.Accepts(value) == wins || w.Keys(team)[0].Disabled != wins {
			t.Errorf("late disable wins %v: accepts %v, disabled %v", wins, w.Accepts(value), w.Keys(team)[0].Disabled)
		}
		set(false)
		w.Advance(time.Second)
		if !w.Accepts(value) {
			t.Error("disabled forever")
		}
	}
}

func TestWhoAmIOfADisabledKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{WhoAmIAnswersDisabled: true})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	w.DisableKey(id)
	if r := w.whoami(value); r.status != 200 || r.o["api_key_disabled"] != true {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.chat(value); r.status != 403 || w.Accepts(value) {
		t.Errorf("%d %s", r.status, r.body)
	}
	w.EnableKey(id)
	if r := w.whoami(value); r.o["api_key_disabled"] != false {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestRotateKeepsTheOldSecretForAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, old := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	r := w.manage("POST", "/auth/api-keys/"+id+"/rotate", `{"oldSecretExpireTime":"2026-03-01T13:00:00Z"}`)
	value := secret.New(r.str("apiKey"))
	if r.str("apiKeyId") != id || value.Equal(old) || w.Accepts(value) || !w.Accepts(old) {
		t.Errorf("%d, accepts new %v, old %v", r.status, w.Accepts(value), w.Accepts(old))
	}
	w.Advance(time.Hour)
	if !w.Accepts(value) || w.Accepts(old) || w.whoami(old).status != 400 {
		t.Errorf("accepts new %v, old %v", w.Accepts(value), w.Accepts(old))
	}
	w.manage("POST", "/auth/api-keys/"+id+"/rotate", `{}`)
	w.Advance(24*time.Hour - time.Second)
	if !w.Accepts(value) {
		t.Error("gone before a day")
	}
	w.Advance(time.Second)
	if w.Accepts(value) {
		t.Error("there after a day")
	}
}

func TestUsageCountsChats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	w.AddKey(team, "idle", "api-key:model:*")
	w.chat(value)
	w.whoami(value)
	if k := w.Keys(team)[0]; k.ID == id && (k.Uses != 1 || !k.LastUsed.Equal(w.Now())) {
		t.Errorf("%+v", k)
	}
	r := w.manage("POST", "/v1/billing/teams/"+team+"/usage", `{"analyticsRequest":{"timeRange":{"startTime":"2026-03-01 11:00:00","endTime":"2026-03-01 14:00:00","timezone":"Etc/GMT"},"timeUnit":"TIME_UNIT_HOUR","values":[{"name":"usd","aggregation":"AGGREGATION_SUM"}],"groupBy":["api_key_id"],"filters":[]}}`)
	if series := r.o["timeSeries"].([]any); len(series) != 1 || strings.Count(r.body, "timestamp") != 3 || strings.Count(r.body, `"values":[0]`) != 2 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// The same seed, clock and calls give the same world.
func TestSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) string {
		w := newWorld(t, xaisim.Options{Seed: seed})
		out := ""
		for i := range 10 {
			_, value := w.create(fmt.Sprint(i))
			w.Advance(700 * time.Millisecond)
			out += fmt.Sprint(w.whoami(value).status) + w.manage("GET", "/auth/teams/"+team+"/api-keys", "").body
		}
		return out
	}
	if one, again := run(1), run(1); one != again {
		t.Error("one seed, two worlds")
	}
	if run(1) == run(2) {
		t.Error("two seeds, one world")
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	w.Advance(time.Hour)
	for _, path := range []string{"/nowhere", "/auth/management-keys/validation"} {
		if got := w.manage("GET", path, "").header.Get("Date"); got != w.Now().Format(http.TimeFormat) {
			t.Errorf("%s: %s", path, got)
		}
	}
}
