package follow

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rotator/internal/api"
)

// scripted is a daemon of one policy whose order is carried out when done says so, and whose status is what status says.
func scripted(done func() bool, status func() map[string]any, events ...map[string]any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		say := func(v any) { _ = json.NewEncoder(w).Encode(v) }
		switch path := r.URL.Path; {
		case r.Method == http.MethodPost:
			say(map[string]any{"id": 1, "after": 0})
		case strings.HasPrefix(path, "/v1/orders/"):
			o := map[string]any{"id": 1, "policy": "chat", "at": "2026-03-01T12:00:00Z"}
			if done() {
				o["done"] = "2026-03-01T12:00:01Z"
			}
			say(o)
		case path == "/v1/status":
			say([]any{status()})
		case path == "/v1/events" && r.URL.Query().Get("after") == "0" && len(events) > 0:
			say(map[string]any{"next": 5, "events": events})
		case path == "/v1/events" && r.URL.Query().Get("after") != "":
			<-r.Context().Done()
		default:
			_, _ = io.WriteString(w, `{"next":0,"events":[]}`)
		}
	})
}

func always() bool { return true }

var revoking = []any{map[string]any{"what": "revoke", "key_id": "k"}}

func revokeTask() *Task {
	return &Task{Order: api.OrderRequest{Policy: "chat", Kind: "revoke"},
		Seen: func(row api.StatusRow) (bool, string) { return len(row.Wanted) == 0, "the key is off or gone" }}
}

// A revoke that is carried out between the look at the status and the look at the order is not done yet.
func TestOldStatus(t *testing.T) {
	var done atomic.Bool
	h := scripted(done.Load, func() map[string]any {
		row := map[string]any{"policy": "chat", "health": "ok", "state": "idle", "wanted": []any{}}
		if done.Swap(true) {
			row["wanted"] = revoking
		}
		return row
	})
	rows, err := Run(t.Context(), Options{Client: api.InProcess(h), View: &quiet{}, Timeout: 6 * time.Second}, []*Task{revokeTask()})
	if err == nil {
		t.Errorf("exit 0, %q, while the end of the key is still wanted", or(rows[0].Detail))
	}
}

// A decommission that someone else took back ends: it never reaches its goal.
func TestDecommissionTakenBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	h := scripted(always, func() map[string]any {
		return map[string]any{"policy": "chat", "health": "ok", "state": "idle", "wanted": []any{}}
	}, map[string]any{"id": 5, "policy": "chat", "kind": "decommission_withdrawn", "data": map[string]string{}})
	task := &Task{Order: api.OrderRequest{Policy: "chat", Kind: "decommission"}, Seen: func(api.StatusRow) (bool, string) { return false, "" }}
	_, err := Run(ctx, Options{Client: api.InProcess(h), View: &quiet{}}, []*Task{task})
	if ctx.Err() != nil {
		t.Errorf("it waits for what nobody wants any more: %v", err)
	}
}

// A policy that is in no file and needs a human ends the command with 3.
func TestRemovedNeedsHuman(t *testing.T) {
	h := scripted(always, func() map[string]any {
		return map[string]any{"policy": "chat", "health": "action_required", "state": "removed", "reason": "wrong_identity", "error": "it is not touched", "wanted": revoking}
	})
	rows, err := Run(t.Context(), Options{Client: api.InProcess(h), View: &quiet{}, Timeout: 10 * time.Second}, []*Task{revokeTask()})
	if rows[0].Outcome != ActionRequired {
		t.Errorf("%s: exit %d: %v", rows[0].Outcome, code(err), err)
	}
}

// A policy that is forgotten meanwhile fails alone, whatever is asked next.
func TestOneForgotten(t *testing.T) {
	for what, asked := range map[string]func(r *http.Request) bool{
		"its order":  func(r *http.Request) bool { return r.URL.Path == "/v1/orders/3" },
		"its status": func(r *http.Request) bool { return r.URL.Path == "/v1/status" && r.URL.Query().Get("policy") == "dead" },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			began, base := time.Now(), fakeDaemon{okLive}
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case asked(r):
					w.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(w, `{"error": "there is no policy dead", "code": 2}`)
				case r.URL.Path == "/v1/history" && r.URL.Query().Get("policy") == "ok" && time.Since(began) < 2*time.Second:
					_, _ = io.WriteString(w, `[{"rotation": "r-ok", "policy": "ok", "state": "planned"}]`)
				default:
					base.ServeHTTP(w, r)
				}
			})
			var tasks []*Task
			for _, name := range []string{"dead", "ok"} {
				tasks = append(tasks, &Task{Order: api.OrderRequest{Policy: name, Kind: "rotate"}, Goal: Live, Wants: "a new key"})
			}
			rows, err := Run(t.Context(), Options{Client: api.InProcess(h), View: &quiet{}, Timeout: 8 * time.Second}, tasks)
			if got := outcomes(rows); got != "dead failed, ok done" {
				t.Errorf("%s; of ok it says %q; exit %d: %v", got, or(rows[1].Detail), code(err), err)
			}
		})
	}
}

// An order that was recorded while Ctrl-C came stays wanted: it did not fail.
func TestInterruptedPlacing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		_, _ = io.WriteString(w, `{"id":1,"policy":"a","at":"2026-03-01T12:00:00Z"}`)
	})
	rows, err := Run(ctx, Options{Client: api.InProcess(h), View: &quiet{}}, []*Task{{Order: api.OrderRequest{Policy: "a", Kind: "rotate"}, Goal: Live, Wants: "a new key"}})
	if rows[0].Outcome == Failed {
		t.Errorf("%s: %q: %v", rows[0].Outcome, or(rows[0].Detail), err)
	}
}
