package follow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// quiet shows nothing but what was refused.
type quiet struct{ refused []string }

func (*quiet) Event(string, api.EventRow) {}
func (*quiet) Waits(string, string)       {}
func (q *quiet) Refused(err error)        { q.refused = append(q.refused, err.Error()) }
func (*quiet) Draw(time.Time)             {}
func (*quiet) Clear()                     {}

func code(err error) int {
	if err == nil {
		return 0
	}
	c, _ := advise(err)
	return c
}

// TestOnlyAHumanHelps: what was there before the order, or while a step is under way, does not end the command.
func TestOnlyAHumanHelps(t *testing.T) {
	t.Parallel()
	began, replica, reason := time.Now(), "host/1", "foreign_value"
	stuck, moving := api.StatusRow{State: api.StateBlocked, Reason: &reason}, api.StatusRow{State: "planned"}
	tried := stuck
	tried.Replica = &replica
	e := &Task{Order: api.OrderRequest{Policy: "chat"}}
	for _, look := range []struct {
		at   time.Duration
		row  api.StatusRow
		over bool
	}{
		{0, stuck, false}, {time.Second, moving, false}, {2 * time.Second, stuck, false}, {4 * time.Second, tried, false},
		{60 * time.Second, tried, false}, {61 * time.Second, stuck, false}, {63 * time.Second, stuck, false}, {64 * time.Second, stuck, true},
	} {
		e.row = look.row
		e.human(began.Add(look.at))
		if e.over != look.over {
			t.Fatalf("after %v: over %v, want %v", look.at, e.over, look.over)
		}
	}
	if code(e.err) != api.ExitWaiting {
		t.Errorf("exit %d: %v", code(e.err), e.err)
	}
}

// TestOneOrderThatCannotBeGiven: it does not stop the others, and every policy has a row.
func TestOneOrderThatCannotBeGiven(t *testing.T) {
	t.Parallel()
	placed := 0
	daemon := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"id": 1, "policy": "chat", "kind": "abort", "at": "2026-03-01T12:00:00Z", "done": "2026-03-01T12:00:01Z", "rotation": "r1"}`)
		case placed == 1:
			placed++
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"error": "the disk is full", "code": 1}`)
		default:
			placed++
			_, _ = io.WriteString(w, `{"id": 1}`)
		}
	})
	var tasks []*Task
	for _, name := range []string{"chat", "search", "voice"} {
		tasks = append(tasks, &Task{Order: api.OrderRequest{Policy: name}})
	}
	rows, err := Run(t.Context(), Options{Client: api.InProcess(daemon), View: &quiet{}}, tasks)
	if err == nil || err.Error() != "search: the disk is full" || code(err) != api.ExitFailed || placed != 3 {
		t.Errorf("after %d orders: %v", placed, err)
	}
	if got := outcomes(rows); got != "chat done, search failed, voice done" {
		t.Errorf("rows: %s", got)
	}
}

func outcomes(rows []Row) string {
	var all []string
	for _, r := range rows {
		all = append(all, r.Policy+" "+r.Outcome)
	}
	return strings.Join(all, ", ")
}

// TestOrdersThatBeginNothing: an order that was carried out and began nothing yet is followed to what begins later; a report
// of a key that no consumer reads has nothing to begin.
func TestOrdersThatBeginNothing(t *testing.T) {
	t.Parallel()
	daemon := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id": 1, "policy": "chat", "kind": "rotate", "at": "2026-03-01T12:00:00Z", "done": "2026-03-01T12:00:01Z"}`)
	})
	f := &follower{Options: Options{Client: api.InProcess(daemon), View: &quiet{}}}
	never := func(api.HistoryRow) (bool, error) { return false, nil }
	live, state := "live", string(journal.Overlap)
	for name, c := range map[string]struct {
		t        Task
		rotation string
		over     bool
	}{
		"nothing yet":                     {Task{}, "", false},
		"it began":                        {Task{newest: "r"}, "r", false},
		"a key that was replaced":         {Task{Order: api.OrderRequest{KeyIDs: []string{"old"}}, row: api.StatusRow{Policy: "chat", KeyID: &live, RotationState: &state}}, "", true},
		"not looked yet":                  {Task{Order: api.OrderRequest{KeyIDs: []string{"old"}}}, "", false},
		"the key in use":                  {Task{Order: api.OrderRequest{KeyIDs: []string{"live"}}, row: api.StatusRow{Policy: "chat", KeyID: &live, RotationState: &state}}, "", false},
		"the key in use, replaced by now": {Task{newest: "r", Order: api.OrderRequest{KeyIDs: []string{"live"}}, row: api.StatusRow{Policy: "chat", KeyID: &live}}, "r", false},
	} {
		task := c.t
		task.Goal = never
		if err := f.ask(t.Context(), &task); err != nil || task.rotation != c.rotation || task.over != c.over || task.err != nil {
			t.Errorf("%s: rotation %q, over %v: %v, %v", name, task.rotation, task.over, err, task.err)
		}
	}
}

// fakeDaemon has three policies: ok rotates, held is held, and dead never makes progress.
type fakeDaemon struct{ history string }

func (d fakeDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names := []string{"", "ok", "held", "dead"}
	say := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	row := func(name string) map[string]any {
		row := map[string]any{"policy": name, "health": "progressing", "state": "planned", "wanted": []any{map[string]any{"what": "rotate"}}}
		if name == "held" {
			row["health"], row["hold"] = "degraded", map[string]any{"reason": "audit", "by": "eve"}
		}
		return row
	}
	switch path := r.URL.Path; {
	case r.Method == http.MethodPost:
		var o api.OrderRequest
		_ = json.NewDecoder(r.Body).Decode(&o)
		for i, n := range names {
			if n == o.Policy {
				say(map[string]any{"id": i, "after": 0})
			}
		}
	case strings.HasPrefix(path, "/v1/orders/"):
		var id int
		_, _ = fmt.Sscanf(path, "/v1/orders/%d", &id)
		order := map[string]any{"id": id, "policy": names[id], "at": "2026-03-01T12:00:00Z", "done": "2026-03-01T12:00:01Z", "rotation": "r-" + names[id]}
		if names[id] == "held" {
			order["refused"] = "held: audit"
		}
		say(order)
	case path == "/v1/status":
		say([]any{row(r.URL.Query().Get("policy"))})
	case path == "/v1/history" && r.URL.Query().Get("policy") == "ok":
		_, _ = io.WriteString(w, d.history)
	case path == "/v1/history":
		say([]any{map[string]any{"rotation": "r-dead", "policy": "dead", "state": "planned"}})
	case path == "/v1/events" && r.URL.Query().Get("after") != "":
		<-r.Context().Done()
	default:
		say(map[string]any{"next": 0, "events": []any{}})
	}
}

func three() []*Task {
	var tasks []*Task
	for _, name := range []string{"dead", "held", "ok"} {
		tasks = append(tasks, &Task{Order: api.OrderRequest{Policy: name, Kind: "rotate"}, Goal: Live, Wants: "a new key"})
	}
	return tasks
}

const okLive = `[{"rotation": "r-ok", "policy": "ok", "state": "live", "new_key_id": "k2", "live": "2026-03-01T12:00:05Z"}]`

// TestInterrupted: a user who stops looking gets a row for each policy, and learns what stays wanted. A refusal is said before
// anything is waited for, and not again.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		timeout time.Duration
		why     string
	}{"by a signal": {0, "interrupted"}, "by the time": {time.Second, "not done after 1s"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.timeout == 0 {
				time.AfterFunc(time.Second, cancel)
			}
			view := &quiet{}
			rows, err := Run(ctx, Options{Client: api.InProcess(fakeDaemon{okLive}), View: view, Timeout: c.timeout}, three())
			if got := outcomes(rows); got != "dead still_wanted, held refused, ok done" {
				t.Fatalf("rows: %s", got)
			}
			if fmt.Sprint(view.refused) != "[held: held: audit]" || strings.Contains(err.Error(), "audit") || code(err) != api.ExitWaiting {
				t.Errorf("refused %q; exit %d: %v", view.refused, code(err), err)
			}
			want := c.why + ": a new key stays wanted; the daemon goes on; `rotator status dead` shows it"
			if got := or(rows[0].Detail); got != want {
				t.Errorf("dead: %s", got)
			}
			if or(rows[2].KeyID) != "k2" || or(rows[2].Rotation) != "r-ok" || or(rows[0].Rotation) != "r-dead" {
				t.Errorf("rows: %+v", rows)
			}
		})
	}
}

// TestAnotherRotation: a rotation that ended elsewhere while a key is still wanted is followed by the next one.
func TestAnotherRotation(t *testing.T) {
	t.Parallel()
	const ended = `{"rotation": "r-ok", "policy": "ok", "state": "aborted", "ended": "2026-03-01T12:00:03Z", "error": "the policy was edited"}`
	task := three()[2]
	rows, err := Run(t.Context(), Options{View: &quiet{}, Client: api.InProcess(fakeDaemon{
		`[{"rotation": "r-next", "policy": "ok", "state": "live", "new_key_id": "k3", "live": "2026-03-01T12:00:09Z"}, ` + ended + `]`,
	})}, []*Task{task})
	if err != nil || outcomes(rows) != "ok done" || or(rows[0].KeyID) != "k3" {
		t.Errorf("%+v: %v", rows, err)
	}
}

// TestExitCodes: 3 where a human is needed, else 1 where anything is short of its goal.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	one, two := &Task{err: failed(errors.New("one"), "")}, &Task{err: waiting(errors.New("two"), "Do.")}
	refused := &Task{err: failed(errors.New("no"), ""), refused: true}
	for _, c := range []struct {
		tasks []*Task
		code  int
		says  string
	}{
		{[]*Task{{}, {}}, 0, ""}, {[]*Task{one, two, {}}, 3, "one\ntwo"}, {[]*Task{one, {}}, 1, "one"}, {[]*Task{refused, {}}, 1, "told"}, {[]*Task{refused, two}, 3, "two"},
	} {
		err := conclude(c.tasks)
		if code(err) != c.code || err != nil && err.Error() != c.says {
			t.Errorf("exit %d, want %d: %v", code(err), c.code, err)
		}
	}
}
