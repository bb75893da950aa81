package xaisim_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/xai/xaisim"
)

func put(w *world, id, fields, mask string) reply {
	return w.manage("PUT", "/auth/api-keys/"+id, `{"apiKey":{`+fields+`},"fieldMask":"`+mask+`"}`)
}

// lost sends a request whose answer must be lost.
func lost(t *testing.T, send func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("the call was answered")
		}
	}()
	send()
}

// Every change can land after its answer was lost; until then it is pending, and then the observers hear of it.
func TestLate(t *testing.T) {
	t.Parallel()
	all := `"api-key:model:*","api-key:endpoint:*"`
	for _, c := range []struct {
		op   string
		send func(w *world, id string)
		done func(w *world, k xaisim.KeyTruth) bool
		want string // the effect
	}{
		{"create", func(w *world, _ string) {
			w.manage("POST", "/auth/teams/"+team+"/api-keys", `{"name":"new","acls":[`+all+`]}`)
		}, func(w *world, _ xaisim.KeyTruth) bool { return len(w.Keys(team)) == 2 }, "create"},
		{"disable", func(w *world, id string) { put(w, id, `"disabled":true`, "disabled") },
			func(w *world, k xaisim.KeyTruth) bool { return k.Disabled && !w.Accepts(k.Secret) }, "disable"},
		{"limits", func(w *world, id string) { put(w, id, `"qpm":7`, "qpm") },
			func(w *world, _ xaisim.KeyTruth) bool {
				return strings.Contains(w.manage("GET", "/auth/teams/"+team+"/api-keys", "").body, `"qpm":7`)
			}, "update"},
		{"rename", func(w *world, id string) { put(w, id, `"name":"n"`, "name") },
			func(_ *world, k xaisim.KeyTruth) bool { return k.Name == "n" }, "update"},
		{"update", func(w *world, id string) { put(w, id, `"name":"n","aclStrings":[]`, "name,aclStrings") },
			func(_ *world, k xaisim.KeyTruth) bool { return len(k.ACLs) == 0 }, "update"},
		{"delete", func(w *world, id string) { w.manage("DELETE", "/auth/api-keys/"+id, "") },
			func(w *world, k xaisim.KeyTruth) bool { return k.Deleted && !w.Accepts(k.Secret) }, "delete"},
		{"rotate", func(w *world, id string) { w.manage("POST", "/auth/api-keys/"+id+"/rotate", `{}`) },
			func(_ *world, k xaisim.KeyTruth) bool { return k.Name == "k" }, "rotate"},
	} {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, xaisim.Options{})
			id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
			var got []xaisim.Effect
			w.OnEffect(func(e xaisim.Effect) {
				w.Keys(team) // an observer may ask
				got = append(got, e)
			})
			due := w.Now().Add(time.Minute)
			w.Late(c.op, time.Minute)
			lost(t, func() { c.send(w, id) })
			if p := w.Pending(); len(p) != 1 || p[0].Op != c.op || !p[0].At.Equal(due) || p[0].Acknowledged || (p[0].ID == id) == (c.op == "create") {
				t.Errorf("pending %+v", p)
			}
			if len(got) != 0 || !w.Accepts(value) {
				t.Errorf("took effect early: %+v", got)
			}
			w.Advance(2 * time.Minute)
			w.Land()
			if len(got) != 1 || got[0].Op != c.want || !got[0].At.Equal(due) || !got[0].Late || len(w.Pending()) != 0 {
				t.Fatalf("effects %+v", got)
			}
			if k := w.Keys(team)[0]; !c.done(w, k) {
				t.Errorf("no effect: %+v", k)
			}
			if c.op == "rotate" && w.Keys(team)[0].Secret.Equal(value) {
				t.Error("the secret is the old one")
			}
		})
	}
}

// Effects land in the order of their times, not of their requests.
func TestLateOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{})
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	w.Late("disable", 2*time.Minute)
	w.Late("enable", time.Minute)
	lost(t, func() { put(w, id, `"disabled":true`, "disabled") })
	lost(t, func() { put(w, id, `"disabled":false`, "disabled") })
	var ops []string
	w.OnEffect(func(e xaisim.Effect) { ops = append(ops, e.Op) })
	w.Advance(time.Hour)
	if w.Accepts(value) || !slices.Equal(ops, []string{"enable", "disable"}) {
		t.Errorf("accepts %v after %v", w.Accepts(value), ops)
	}
}

// An acknowledged disable reaches clusters one by one, each after a following enable: xAI shows the key as enabled, and
// single clusters refuse it.
func TestLateDisableWinsOnSingleClusters(t *testing.T) {
	t.Parallel()
	for _, wins := range []bool{false, true} {
		w := newWorld(t, xaisim.Options{DisableSpread: time.Minute, LateDisableWins: wins})
		id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
		var heard []string
		w.OnEffect(func(e xaisim.Effect) { heard = append(heard, fmt.Sprint(e.Op, len(e.Clusters))) })
		put(w, id, `"disabled":true`, "disabled")
		if w.Accepts(value) || !w.AcceptsSomewhere(value) || len(w.Pending()) != 2 || !w.Pending()[0].Acknowledged {
			t.Errorf("after the disable: %+v", w.Pending())
		}
		put(w, id, `"disabled":false`, "disabled")
		if !w.Accepts(value) || (len(w.Pending()) > 0) != wins {
			t.Errorf("wins %v: after the enable: %+v", wins, w.Pending())
		}
		w.Advance(time.Minute)
		k := w.Keys(team)[0]
		if w.Accepts(value) == wins || !w.AcceptsSomewhere(value) || k.Disabled || k.Refused != wins {
			t.Errorf("wins %v: %+v", wins, k)
		}
		want := []string{"disable1", "enable3"}
		if wins {
			want = append(want, "disable1")
		}
		if !slices.Equal(heard, want) {
			t.Errorf("wins %v: heard %v", wins, heard)
		}
	}
}

func TestEnableReachesClustersOneByOne(t *testing.T) {
	t.Parallel()
	for _, wins := range []bool{false, true} {
		w := newWorld(t, xaisim.Options{EnableSpread: time.Minute, LateEnableWins: wins})
		id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
		w.DisableKey(id)
		w.EnableKey(id)
		if w.Accepts(value) || !w.AcceptsSomewhere(value) || w.Keys(team)[0].Disabled {
			t.Error("not one cluster, or all of them")
		}
		w.Advance(2 * time.Minute)
		if !w.Accepts(value) {
			t.Error("not enabled after the spread")
		}
		w.DisableKey(id)
		w.EnableKey(id)
		w.DisableKey(id)
		w.Advance(time.Hour)
		if w.AcceptsSomewhere(value) != wins {
			t.Errorf("late enable wins %v: accepted %v", wins, w.AcceptsSomewhere(value))
		}
	}
}

func TestObserversHearOfPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, xaisim.Options{DeleteLag: time.Minute})
	var heard []string
	var last xaisim.Effect
	w.OnEffect(func(e xaisim.Effect) { heard, last = append(heard, e.Op), e })
	id, value := w.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	w.DisableKey(id)
	w.EnableKey(id)
	w.DeleteKey(id)
	if !slices.Equal(heard, []string{"create", "disable", "enable", "delete"}) || last.Key.ID != id || !last.Key.Deleted ||
		!last.Key.Secret.Equal(value) || last.Late {
		t.Errorf("heard %v, last of %s", heard, last.Key.ID)
	}
	if w.Accepts(secret.New("xai-nobody")) || w.AcceptsSomewhere(secret.New("xai-nobody")) {
		t.Error("an unknown value is accepted")
	}
}
