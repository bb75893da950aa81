package xai_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"rotator/internal/guard"
	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// With the guides alone the calls of the main job work, and the others are not asked for again for a day.
func TestGuidesOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{GuidesOnly: true})
	id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	missing := []string{xai.OpValidate, xai.OpAudit, xai.OpUsage, xai.OpRotate, xai.OpWhoAmI, xai.OpModels}
	round := func() {
		t.Helper()
		for op, err := range b.everyCall(t.Context(), id, value) {
			if want := slices.Contains(missing, op); errors.Is(err, xai.ErrNotOffered) != want || (err != nil) != want {
				t.Errorf("%s: %v", op, err)
			}
			if xai.OutcomeUnknown(err) || xai.ProvesBad(err) {
				t.Errorf("%s: %v has an outcome", op, err)
			}
		}
		id, value = b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	}
	round()
	unknown := b.sim.Calls()[""]
	round()
	b.Advance(23 * time.Hour)
	round()
	if n := b.sim.Calls()[""]; n != unknown || unknown != 7 { // the update by the reference's path is the seventh
		t.Errorf("%d calls of unknown routes at first, %d later", unknown, n)
	}
	if n := b.sim.Calls()["update"]; n != 3 {
		t.Errorf("%d updates", n)
	}
	want := []string{"GET /audit/teams/{id}/events", "GET /auth/management-keys/validation", "POST /auth/api-keys/{id}/rotate",
		"POST /v1/billing/teams/{id}/usage", "PUT /auth/api-keys/{id}"}
	if got := b.m.NotOffered(); !slices.Equal(got, want) {
		t.Errorf("not offered: %q", got)
	}
	if got := b.i.NotOffered(); !slices.Equal(got, []string{"GET /v1/api-key", "GET /v1/models"}) {
		t.Errorf("not offered: %q", got)
	}
	b.Advance(time.Hour)
	if len(b.m.NotOffered())+len(b.i.NotOffered()) != 0 {
		t.Error("remembered for more than a day")
	}
	b.sim.Set(func(o *xaisim.Options) { o.GuidesOnly = false })
	missing = nil
	round()
	if len(b.m.NotOffered())+len(b.i.NotOffered()) != 0 {
		t.Error("offered, and remembered as not")
	}
}

// What the main job needs is always asked for: a page in front of xAI must not end it for a day.
func TestNeededCallsAreAlwaysAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	b.sim.Inject(xaisim.Fault{Kind: xaisim.Status, Status: 404, Body: "<html>gone</html>", Count: -1})
	for op, err := range b.everyCall(t.Context(), id, value) {
		if !errors.Is(err, xai.ErrNotOffered) {
			t.Errorf("%s: %v", op, err)
		}
	}
	b.sim.ClearFaults()
	for op, err := range b.everyCall(t.Context(), id, value) {
		needed := slices.Contains([]string{xai.OpCreate, xai.OpList, xai.OpUpdate, xai.OpDelete, xai.OpPropagation, xai.OpTeamModels, xai.OpEndpoints, xai.OpChat}, op)
		if needed != (err == nil) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestUpdateByEitherPath(t *testing.T) {
	t.Parallel()
	for _, path := range []xaisim.UpdatePath{xaisim.UpdateByReference, xaisim.UpdateByGuide, xaisim.UpdateByBoth} {
		b := newBench(t, xaisim.Options{UpdatePath: path})
		id, _ := b.sim.AddKey(team, "k", "api-key:model:*")
		expires := b.Now().Add(time.Hour)
		k, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Name: new("n"), ACLs: []string{"api-key:endpoint:chat"}, QPS: new(1), QPM: new(2),
			TPM: new("3"), Disabled: new(true), Expires: &expires})
		if err != nil || k.Name != "n" || !k.Disabled || *k.QPS != 1 || *k.QPM != 2 || *k.TPM != "3" || !k.Expires.Equal(expires) ||
			!slices.Equal(k.ACLs, []string{"api-key:endpoint:chat"}) || k.UserID != "user-1" || k.Created.IsZero() || !k.Modified.Equal(b.Now()) {
			t.Errorf("path %d: %+v, %v", path, k, err)
		}
		if _, err := b.m.UpdateKey(t.Context(), "", id, xai.KeyUpdate{QPM: new(1)}); (path == xaisim.UpdateByGuide) != errors.Is(err, xai.ErrNotOffered) {
			t.Errorf("path %d without a team: %v", path, err)
		}
		if _, err := b.m.UpdateKey(t.Context(), team, "nobody", xai.KeyUpdate{QPM: new(1)}); xai.ClassOf(err) != xai.ClassNotFound {
			t.Errorf("path %d: %v", path, err)
		}
	}
}

// What may be refused of an update is refused clearly, on either path.
func TestUpdateSwitches(t *testing.T) {
	t.Parallel()
	for _, guides := range []bool{false, true} {
		b := newBench(t, xaisim.Options{GuidesOnly: guides, DisableUnsupported: true, ExpireTimeFixed: true, NameLimit: 4})
		id, _ := b.sim.AddKey(team, "k", "api-key:model:*")
		expires := b.Now().Add(time.Hour)
		for _, u := range []xai.KeyUpdate{{Disabled: new(true)}, {Expires: &expires}} {
			if _, err := b.m.UpdateKey(t.Context(), team, id, u); xai.ClassOf(err) != xai.ClassInvalid || xai.OutcomeUnknown(err) {
				t.Errorf("%+v: %v", u, err)
			}
		}
		if k, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Name: new("longer")}); err != nil || k.Name != "long" {
			t.Errorf("name %q, %v", k.Name, err)
		}
	}
}

// A limit and an expiry can be taken away, and what xAI leaves as it is shows in the key that comes back.
func TestUpdateClears(t *testing.T) {
	t.Parallel()
	for _, guides := range []bool{false, true} {
		b := newBench(t, xaisim.Options{GuidesOnly: guides, Ignored: []string{"qps"}, Fixed: []string{"name"}})
		id, _ := b.sim.AddKey(team, "k", "api-key:model:*")
		expires := b.Now().Add(time.Hour)
		b.sim.ChangeKey(id, func(k *xaisim.KeyTruth) {
			k.QPS, k.QPM, k.TPM, k.Expires = new(1), new(2), new("3"), expires
		})
		k, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{NoQPS: true, NoQPM: true, NoTPM: true, Expires: &time.Time{}})
		if err != nil || k.QPS == nil || *k.QPS != 1 || k.QPM != nil || k.TPM != nil || !k.Expires.IsZero() {
			t.Errorf("guides %v: %+v, %v", guides, k, err)
		}
		if _, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Name: new("n")}); xai.ClassOf(err) != xai.ClassInvalid {
			t.Errorf("a name that cannot be changed: %v", err)
		}
		if _, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{QPM: new(1), NoQPM: true}); xai.ClassOf(err) != xai.ClassInvalid {
			t.Errorf("set and taken away at once: %v", err)
		}
	}
}

// A lost update by the guide's path is not sent again, and counts as unknown.
func TestLateUpdateByTheGuide(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{GuidesOnly: true})
	id, _ := b.sim.AddKey(team, "k", "api-key:model:*")
	b.sim.Late("disable", time.Minute)
	_, err := b.m.UpdateKey(t.Context(), team, id, xai.KeyUpdate{Disabled: new(true)})
	if !xai.OutcomeUnknown(err) || b.sim.Calls()["update"] != 1 || b.sim.Keys(team)[0].Disabled {
		t.Errorf("%v, calls %v", err, b.sim.Calls())
	}
	if p := b.sim.Pending(); len(p) != 1 || p[0].ID != id || p[0].Op != "disable" {
		t.Errorf("pending %+v", p)
	}
	b.Advance(time.Minute)
	if !b.sim.Keys(team)[0].Disabled {
		t.Error("never landed")
	}
}

// A recorder hears xAI's clock from successes and from "cannot find", not from refusals, pages, or answers without a date.
func TestWithDate(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{DateSkew: time.Hour})
	_, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	var heard, outer []time.Time
	ctx := xai.WithDate(t.Context(), func(at time.Time) { outer = append(outer, at) })
	ctx = xai.WithDate(ctx, func(at time.Time) { heard = append(heard, at) })
	list, err := b.m.ListKeys(ctx, team)
	if err != nil || !list.Date.Equal(b.Now().Add(time.Hour)) || len(heard) != 1 || !heard[0].Equal(list.Date) || len(outer) != 1 {
		t.Errorf("list: %v, heard %v", err, heard)
	}
	_ = b.m.DeleteKey(ctx, "nobody")
	_ = b.i.Chat(ctx, value, "grok-4")
	if len(heard) != 3 {
		t.Errorf("heard %v", heard)
	}
	_, _ = b.i.WhoAmI(ctx, secret.New("xai-nobody"))
	_, _ = b.m.ListKeys(ctx, "another team")
	b.sim.Inject(xaisim.Fault{Call: "chat", Kind: xaisim.Status, Status: 502, Body: "<html>bad</html>"})
	_ = b.i.Chat(ctx, value, "grok-4")
	b.sim.Set(func(o *xaisim.Options) { o.NoDate = true })
	if list, err := b.m.ListKeys(ctx, team); err != nil || !list.Date.IsZero() {
		t.Errorf("a date from nowhere: %v, %v", list.Date, err)
	}
	if len(heard) != 3 {
		t.Errorf("heard %v", heard)
	}
}

// A change whose guard says no never leaves, and its end says so; reads are asked for anyway.
func TestGuard(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	lost := errors.New("the claim was lost")
	ctx := guard.With(context.Background(), func() error { return lost })
	for op, err := range b.everyCall(ctx, id, value) {
		switch op {
		case xai.OpCreate, xai.OpUpdate, xai.OpDelete, xai.OpRotate, xai.OpChat, xai.OpUsage:
			if !errors.Is(err, lost) || xai.OutcomeUnknown(err) || xai.ClassOf(err) != xai.ClassCanceled || b.sim.Calls()[op] != 0 {
				t.Errorf("%s: %v, calls %v", op, err, b.sim.Calls())
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
}

// A client certificate that is missing is named.
func TestMissingClientCertificate(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{ClientCertificates: true})
	id, value := b.sim.AddKey(team, "k", "api-key:model:*", "api-key:endpoint:*")
	for op, err := range b.everyCall(t.Context(), id, value) {
		var e *xai.Error
		if !errors.As(err, &e) || e.Class != xai.ClassForbidden || e.Code != "client_certificate" || xai.ProvesBad(err) || e.Status != http.StatusForbidden {
			t.Errorf("%s: %v", op, err)
		}
	}
}
