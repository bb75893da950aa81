package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/journal"
)

// actions stands for the program.
type actions struct {
	asked  []string
	reload error
}

func (a *actions) Keys(_ context.Context, q api.KeysQuery) ([]api.KeyRow, error) {
	a.asked = append(a.asked, fmt.Sprintf("keys %+v", q))
	return nil, nil
}

func (a *actions) ACLs(_ context.Context, team string) ([]api.ACLRow, error) {
	a.asked = append(a.asked, "acls "+team)
	return nil, nil
}

func (a *actions) Identify(_ context.Context, q api.IdentifyRequest) ([]api.IdentityRow, error) {
	a.asked = append(a.asked, fmt.Sprintf("identify %+v", q))
	return nil, nil
}

func (a *actions) Plan(_ context.Context, named []string, until time.Time) ([]api.PlanRow, error) {
	a.asked = append(a.asked, "plan "+strings.Join(named, "+")+" until "+until.Format(time.TimeOnly))
	at := noon.Add(1500 * time.Millisecond).In(time.FixedZone("", 7200))
	return []api.PlanRow{{Policy: "a", Action: "create", At: &at}}, nil
}

func (a *actions) Adoptions(_ context.Context, named []string) ([]api.AdoptionRow, error) {
	a.asked = append(a.asked, "adoptions "+strings.Join(named, "+"))
	at := noon.Add(1500 * time.Millisecond)
	return []api.AdoptionRow{{As: "left", Created: &at}}, nil
}

func (a *actions) Check(context.Context) ([]api.CheckRow, error) {
	a.asked = append(a.asked, "check")
	return []api.CheckRow{{Subject: "team research", Result: api.CheckOK}}, nil
}

func (a *actions) Reload(context.Context) error {
	a.asked = append(a.asked, "reload")
	return a.reload
}

func TestOrdersAreRecordedAndWakeTheEngine(t *testing.T) {
	t.Parallel()
	for _, q := range []api.OrderRequest{
		{Policy: "a", Kind: "rotate", By: "ann"},
		{Policy: "a", Kind: "rotate", Trigger: "compromised", Supersede: true, Why: "leaked in a log", By: "ann"},
		{Policy: "a", Kind: "abort", By: "ann"},
		{Policy: "a", Kind: "rollback", Why: "consumers fail", By: "ann"},
		{Policy: "a", Kind: "revive", By: "ann"},
		{Policy: "a", Kind: "propagation", By: "ann"},
		{Policy: "a", Kind: "resolve", Target: &api.TargetRow{Store: "local", Path: "a", Field: "key"}, Decision: "overwrite", By: "ann"},
		{Policy: "a", Kind: "rollback", FalseAlarm: true, By: "ann"},
		{Policy: "a", Kind: "rotate", Trigger: "compromised", KeyIDs: []string{"key-1"}, Why: "leaked", By: "ann"},
		{Policy: "a", Kind: "resolve", Decision: "despite", Target: &api.TargetRow{Store: "local", Path: "gone"}, KeyIDs: []string{"key-1"}, Why: "scrapped", By: "ann"},
		{Policy: "a", Kind: "resolve", Decision: "ours", KeyIDs: []string{"key-1"}, Why: "compared with the console", By: "ann"},
		{Policy: "a", Kind: "resolve", Decision: "adopt", KeyIDs: []string{"key-1", "key-2"}, By: "ann"},
	} {
		d := newDesk(t)
		d.policies("a")
		d.ok(d.journal.Record(t.Context(), journal.Event{At: noon, Kind: journal.ReloadRefused}))
		placed, err := d.client.Place(t.Context(), q)
		d.ok(err)
		if placed.After != 2 { // the first tells of the policy
			t.Errorf("%s: after %d, want the last event before it", q.Kind, placed.After)
		}
		got, err := d.client.Order(t.Context(), placed.ID)
		d.ok(err)
		want := q
		want.By = self(t, q.By)
		if q.Kind == "rotate" && q.Trigger == "" {
			want.Trigger = "manual"
		}
		asked := api.OrderRequest{Policy: got.Policy, Kind: got.Kind, Trigger: value(got.Trigger), Supersede: got.Supersede,
			Target: got.Target, Decision: value(got.Decision), FalseAlarm: got.FalseAlarm, Why: value(got.Why), By: got.By}
		if len(got.KeyIDs) > 0 {
			asked.KeyIDs = got.KeyIDs
		}
		if diff := cmp.Diff(want, asked); diff != "" || got.Done != nil || !got.At.Equal(noon) {
			t.Errorf("order %+v (-want +got):\n%s", got, diff)
		}
		if d.engine.wakes.Load() != 1 {
			t.Errorf("%s: %d wakes, want 1", q.Kind, d.engine.wakes.Load())
		}
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func TestWrongOrdersAreRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("chat-prod", "chat-test", "embed")
	target := &api.TargetRow{Store: "local", Path: "a"}
	for _, c := range []struct {
		q    api.OrderRequest
		want string
	}{
		{api.OrderRequest{Policy: "embed", Kind: "destroy", By: "ann"},
			`unknown order "destroy"; want one of [rotate abort rollback revive revoke decommission resolve propagation rehearse]`},
		{api.OrderRequest{Policy: "embed", Kind: "rotate"}, "by must say who gives the order"},
		{api.OrderRequest{Policy: "embed", Kind: "rotate", Trigger: "schedule", By: "ann"}, "a human's trigger is manual or compromised"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", Supersede: true, By: "ann"}, "trigger and supersede belong to rotate"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", Target: target, By: "ann"}, "target and decision belong to resolve"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "drop", By: "ann"}, "resolve needs a target with store and path"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Target: target, By: "ann"}, "resolve needs a decision: overwrite, leave, drop, despite or ours"},
		{api.OrderRequest{Policy: "embed", Kind: "rotate", FalseAlarm: true, By: "ann"}, "false_alarm belongs to rollback"},
		{api.OrderRequest{Policy: "embed", Kind: "rotate", Trigger: "compromised", KeyIDs: []string{"k", "l"}, By: "ann"}, "key_ids must name one key"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "despite", Target: target, KeyIDs: []string{"k"}, By: "ann"},
			"the decision despite needs why"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "ours", KeyIDs: []string{"k"}, By: "ann"}, "the decision ours needs why"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "ours", Why: "compared", By: "ann"},
			"key_ids belong to revoke and to the decisions adopt, despite and ours, which need them, and to the trigger compromised"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "ours", Target: target, KeyIDs: []string{"k"}, Why: "compared", By: "ann"},
			"the decision ours is of a key, and of no target"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "adopt", By: "ann"}, "key_ids belong to revoke and to the decisions adopt, despite and ours, which need them, and to the trigger compromised"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", KeyIDs: []string{"k"}, By: "ann"}, "key_ids belong to revoke and to the decisions adopt, despite and ours, which need them, and to the trigger compromised"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "adopt", Target: target, KeyIDs: []string{"k"}, By: "ann"},
			"target and decision belong to resolve"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "adopt", KeyIDs: []string{"k", "a b"}, By: "ann"},
			"key_ids holds what is not a valid key ID"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", By: "ann", Why: "it was xai-0123456789abcdefABCDEF"},
			"a text holds what looks like an API key; it is not recorded"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", By: "ann", Why: "it was xai-token-0123456789abcdefABCDEF"},
			"a text holds what looks like an API key; it is not recorded"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "drop", By: "ann",
			Target: &api.TargetRow{Store: "local", Path: "xai-0123456789abcdefABCDEF"}}, "a text holds what looks like an API key; it is not recorded"},
		{api.OrderRequest{Policy: "embed", Kind: "resolve", Decision: "adopt", KeyIDs: []string{"xai-0123456789abcdefABCDEF"}, By: "ann"},
			"a text holds what looks like an API key; it is not recorded"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", By: "ann", Why: strings.Repeat("x", 501)}, "a text is longer than 500 bytes"},
		{api.OrderRequest{Kind: "abort", By: "ann"}, "a policy must be named"},
		{api.OrderRequest{Policy: "embed", Kind: "revoke", KeyIDs: []string{"k1"}, By: "ann", Why: "w"}, "revoke needs accept_outage: it ends a key whatever reads it"},
		{api.OrderRequest{Policy: "embed", Kind: "revoke", KeyIDs: []string{"k1"}, AcceptOutage: true, By: "ann"}, "revoke needs why"},
		{api.OrderRequest{Kind: "revoke", KeyIDs: []string{"no-such-key"}, AcceptOutage: true, Why: "w", By: "ann"}, "no key no-such-key in the journal; `rotator keys` lists the keys of each team"},
		{api.OrderRequest{Policy: "embed", Kind: "decommission", By: "ann"}, "decommission needs why"},
		{api.OrderRequest{Policy: "embed", Kind: "abort", AcceptOutage: true, By: "ann"}, "accept_outage belongs to revoke and decommission"},
		{api.OrderRequest{Policy: "chat-prdo", Kind: "abort", By: "ann"}, `no policy is named "chat-prdo"; did you mean chat-prod?`},
		{api.OrderRequest{Policy: "chat", Kind: "abort", By: "ann"}, `no policy is named "chat"; did you mean chat-prod or chat-test?`},
		{api.OrderRequest{Policy: "zzzzzz", Kind: "abort", By: "ann"}, `no policy is named "zzzzzz"`},
	} {
		_, err := d.client.Place(t.Context(), c.q)
		d.fails(err, api.ExitUsage, c.want)
	}
	_, err := d.client.Order(t.Context(), 1)
	d.fails(err, api.ExitUsage, "order 1: not in the journal")
	if d.engine.wakes.Load() != 0 {
		t.Error("an order that was refused woke the engine")
	}
}

func TestRequestsAreReadStrictly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a")
	const order, plain = `{"policy":"a","kind":"rotate","by":"ann"`, "application/json"
	for name, c := range map[string]struct {
		method, path, kind, body string
		status                   int
	}{
		"as it should be":      {"POST", "/v1/orders", plain, order + `}`, 200},
		"with a charset":       {"POST", "/v1/orders", plain + "; charset=utf-8", order + `}`, 200},
		"unknown field":        {"POST", "/v1/orders", plain, order + `,"force":true}`, 400},
		"wrong type":           {"POST", "/v1/orders", plain, order + `,"supersede":"yes"}`, 400},
		"two values":           {"POST", "/v1/orders", plain, order + `} {}`, 400},
		"cut off":              {"POST", "/v1/orders", plain, order, 400},
		"nothing":              {"POST", "/v1/orders", plain, "", 400},
		"a form":               {"POST", "/v1/orders", "application/x-www-form-urlencoded", order + `}`, 415},
		"no type":              {"POST", "/v1/orders", "", order + `}`, 415},
		"too large":            {"POST", "/v1/orders", plain, order + `,"why":"` + strings.Repeat("x", 70_000) + `"}`, 413},
		"unknown parameter":    {"GET", "/v1/status?polcy=a", "", "", 400},
		"parameter twice":      {"GET", "/v1/history?limit=1&limit=2", "", "", 400},
		"two policies of one":  {"GET", "/v1/history?policy=a&policy=b", "", "", 400},
		"two policies' events": {"GET", "/v1/events?after=0&policy=a&policy=b", "", "", 400},
		"limit not a number":   {"GET", "/v1/history?limit=ten", "", "", 400},
		"limit too high":       {"GET", "/v1/history?limit=10001", "", "", 400},
		"after below zero":     {"GET", "/v1/events?after=-1", "", "", 400},
		"query not readable":   {"GET", "/v1/status?policy=%zz", "", "", 400},
		"order's id no number": {"GET", "/v1/orders/last", "", "", 400},
		"no such path":         {"GET", "/v1/secrets", "", "", 404},
		"no such method":       {"DELETE", "/v1/status", "", "", 404},
		"no such policy":       {"GET", "/v1/status?policy=b", "", "", 404},
		"release by no one":    {"DELETE", "/v1/holds/a", "", "", 400},
		"release of nothing":   {"DELETE", "/v1/holds/b?by=ann", "", "", 404},
		"actions without any":  {"GET", "/v1/keys", "", "", 501},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		w := httptest.NewRecorder()
		d.server.Control().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, w.Code, c.status, w.Body)
		}
		if w.Code >= 400 && (!strings.HasPrefix(w.Body.String(), `{"error":"`) || w.Header().Get("Content-Type") != plain) {
			t.Errorf("%s: %s is no error of the API", name, w.Body)
		}
	}
}

func TestHoldAndRelease(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a")
	until, past := noon.Add(time.Hour), noon
	d.fails(d.client.Hold(t.Context(), api.HoldRequest{Policy: "a", By: "ann"}), api.ExitUsage, "a hold needs reason and by")
	d.fails(d.client.Hold(t.Context(), api.HoldRequest{Policy: "a", Reason: " \n", By: "ann"}), api.ExitUsage, "a hold needs reason and by")
	d.fails(d.client.Hold(t.Context(), api.HoldRequest{Policy: "a", Reason: "audit", By: "ann", Until: &past}), api.ExitUsage,
		"the hold's end has passed already")
	d.fails(d.client.Hold(t.Context(), api.HoldRequest{Policy: "b", Reason: "audit", By: "ann"}), api.ExitUsage,
		`no policy is named "b"`)
	d.ok(d.client.Hold(t.Context(), api.HoldRequest{Policy: "a", Reason: "audit", By: "ann", Until: &until}))
	h, err := d.journal.HoldOf(t.Context(), "a")
	d.ok(err)
	if want := (journal.Hold{Reason: "audit", By: self(t, "ann"), At: noon, Until: until}); h != want {
		t.Errorf("hold %+v, want %+v", h, want)
	}
	for range 2 { // the second finds nothing to release, and says nothing
		d.ok(d.client.Release(t.Context(), "a", "bob"))
	}
	if h, _ := d.journal.HoldOf(t.Context(), "a"); h != (journal.Hold{}) {
		t.Errorf("hold %+v after its release", h)
	}
	e, err := d.client.Events(t.Context(), 0, "a")
	d.ok(err)
	if e.Events = e.Events[1:]; len(e.Events) != 2 || e.Events[0].Kind != "hold" || e.Events[1].Kind != "release" || e.Events[1].Data["by"] != self(t, "bob") {
		t.Errorf("events %+v, want one hold and one release", e.Events)
	}
	if d.engine.wakes.Load() != 2 {
		t.Errorf("%d wakes, want 2", d.engine.wakes.Load())
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a", "b")
	gone := journal.Target{TargetID: journal.TargetID{Store: "local", Path: "old"}, Policy: "b", RemovedAt: noon, SeenAt: noon}
	d.edit("b", func(rec *journal.Record) { rec.Targets = append(rec.Targets, gone) })
	d.policies("b")
	d.fails(d.client.Forget(t.Context(), api.ForgetRequest{Policy: "b", By: "ann"}), api.ExitFailed,
		"forget b: the journal does not allow it: the policy is still in the files")
	d.ok(d.client.Forget(t.Context(), api.ForgetRequest{Policy: "b", Target: &api.TargetRow{Store: "local", Path: "old"}, By: "ann"}))
	d.ok(d.client.Forget(t.Context(), api.ForgetRequest{Policy: "a", By: "ann"}))
	rows, err := d.client.Status(t.Context())
	d.ok(err)
	if len(rows) != 1 || rows[0].Policy != "b" {
		t.Errorf("policies %+v, want b alone", rows)
	}
	if left, _ := d.journal.Targets(t.Context()); len(left) != 0 {
		t.Errorf("targets %+v, want none", left)
	}
	d.fails(d.client.Forget(t.Context(), api.ForgetRequest{Policy: "a", By: "ann"}), api.ExitUsage, `no policy is named "a"`)
}

func TestActions(t *testing.T) {
	t.Parallel()
	a := &actions{}
	d := newDesk(t, func(o *api.Options) { o.Actions = a })
	keys, err := d.client.Keys(t.Context(), api.KeysQuery{Team: "research", Wide: true, UnusedFor: 720 * time.Hour})
	d.ok(err)
	if keys == nil {
		t.Error("no keys are null, want an empty list")
	}
	acls, err := d.client.ACLs(t.Context(), "research")
	d.ok(err)
	if acls == nil {
		t.Error("no rights are null, want an empty list")
	}
	plan, err := d.client.Plan(t.Context(), noon, api.Selection{Policies: []string{"a", "b"}})
	d.ok(err)
	d.policies("a")
	adoptions, err := d.client.Adoptions(t.Context(), "a")
	d.ok(err)
	if len(adoptions) != 1 || *adoptions[0].Created != noon.Add(time.Second) {
		t.Errorf("adoptions %+v", adoptions)
	}
	_, err = d.client.Adoptions(t.Context(), "stranger")
	d.fails(err, api.ExitUsage, `no policy is named "stranger"`)
	check, err := d.client.Check(t.Context())
	d.ok(err)
	if len(plan) != 1 || plan[0].Action != "create" || *plan[0].At != noon.Add(time.Second) || len(check) != 1 || check[0].Result != api.CheckOK {
		t.Errorf("plan %+v, check %+v", plan, check)
	}
	d.ok(d.client.Reload(t.Context()))
	a.reload = policies.Problems{{File: "a.yaml", Line: 3, What: "team is missing", Want: "it given"}}
	err = d.client.Reload(t.Context())
	d.fails(err, api.ExitUsage, "the configuration has problems; what they name stays as it was, and all else is in force")
	var refused *api.Error
	if errors.As(err, &refused); refused == nil || len(refused.Problems) != 1 || refused.Problems[0] != "a.yaml:3: team is missing; want it given" {
		t.Errorf("problems of %v", err)
	}
	a.reload = &api.Error{Message: "team research is still needed", Code: api.ExitFailed}
	d.fails(d.client.Reload(t.Context()), api.ExitFailed, "team research is still needed")
	if want := []string{"keys {Team:research Unmanaged:false Wide:true UnusedFor:720h0m0s}", "acls research", "plan a+b until 12:00:00", "adoptions a", "check", "reload", "reload", "reload"}; !cmp.Equal(a.asked, want) {
		t.Errorf("asked %q, want %q", a.asked, want)
	}
}

func TestStatusOfSomePolicies(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a", "b", "c")
	rows, err := d.client.Status(t.Context(), "c", "a")
	d.ok(err)
	if len(rows) != 2 || rows[0].Policy != "a" || rows[1].Policy != "c" {
		t.Errorf("rows %+v, want a and c", rows)
	}
	_, err = d.client.Status(t.Context(), "a", "d")
	d.fails(err, api.ExitUsage, `no policy is named "d"`)
	rows, err = d.client.Status(t.Context())
	d.ok(err)
	if len(rows) != 3 {
		t.Errorf("%d rows, want 3", len(rows))
	}
}

func TestHistoryOfAForgottenPolicyStays(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.policies("a")
	d.edit("a", func(rec *journal.Record) {
		rec.Ended = append(rec.Ended, journal.Rotation{ID: "r", Policy: "a", State: journal.Aborted, Trigger: journal.ByHand, Spec: "{}",
			StartedAt: noon, EnteredAt: noon, EndedAt: noon, Error: "aborted by ann"})
	})
	d.policies()
	d.ok(d.client.Forget(t.Context(), api.ForgetRequest{Policy: "a", By: "ann"}))
	rows, err := d.client.History(t.Context(), "a", 10)
	d.ok(err)
	if len(rows) != 1 || rows[0].State != "aborted" || value(rows[0].Error) != "aborted by ann" {
		t.Errorf("rows %+v, want the rotation that was aborted", rows)
	}
	_, err = d.client.History(t.Context(), "b", 10)
	d.fails(err, api.ExitUsage, `no policy is named "b"; there are no policies`)
}

func TestAJournalThatDoesNotAnswerIsAFailure(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.journal.down.Store(true)
	_, err := d.client.Status(t.Context())
	d.fails(err, api.ExitFailed, errDown.Error())
	if w := d.get("/api/v1/status"); w.Code != http.StatusInternalServerError {
		t.Errorf("public status %d, want 500", w.Code)
	}
}
