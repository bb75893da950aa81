package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/policies"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// noon is when every test begins.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a server over a journal in memory, with a clock that moves only when it is told to.
type desk struct {
	*testing.T
	journal *flaky
	clock   atomic.Pointer[time.Time]
	engine  *engine
	server  *api.Server
	client  *api.Client
	loading atomic.Pointer[api.Loading]
}

// flaky is a journal that can be made to fail when it is asked.
type flaky struct {
	journal.Journal
	down atomic.Bool
}

var errDown = errors.New("disk I/O error")

func (f *flaky) Summaries(ctx context.Context, named ...string) ([]journal.Summary, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Journal.Summaries(ctx, named...)
}

func (f *flaky) Teams(ctx context.Context) ([]journal.Team, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Journal.Teams(ctx)
}

// engine stands for the scheduler.
type engine struct {
	wakes   atomic.Int64
	look    atomic.Pointer[time.Time]
	refused atomic.Pointer[error] // nil: the journal answers
}

func (e *engine) Wake()               { e.wakes.Add(1) }
func (e *engine) LastLook() time.Time { return *e.look.Load() }

func (e *engine) LastTry() (time.Time, error) {
	if refused := e.refused.Load(); refused != nil {
		return *e.look.Load(), *refused
	}
	return *e.look.Load(), nil
}

func newDesk(t *testing.T, change ...func(*api.Options)) *desk {
	t.Helper()
	d := &desk{T: t, engine: &engine{}}
	d.at(noon)
	d.engine.look.Store(&time.Time{})
	d.loading.Store(&api.Loading{At: noon, Succeeded: noon, Policies: 3})
	db, err := sqldb.Open(t.Context(), "sqlite::memory:", sqldb.Options{Now: d.now})
	d.ok(err)
	t.Cleanup(func() { _ = db.Close() })
	d.journal = &flaky{Journal: db}
	o := api.Options{
		Journal: d.journal, Scheduler: d.engine, Reasons: reasons, Teams: func() []string { return []string{"research"} },
		Hosts: []string{"rotator.example"}, Version: "v1.2.3", Commit: "abc123", Now: d.now,
		Loaded:   func() api.Loading { return *d.loading.Load() },
		Unlogged: func() uint64 { return 12 },
		Spans:    func() map[string]uint64 { return map[string]uint64{"sent": 7, "dropped": 3, "failed": 0} },
	}
	for _, f := range change {
		f(&o)
	}
	d.server = api.New(o)
	d.client = api.InProcess(d.server.Control())
	return d
}

var reasons = []api.ReasonInfo{
	{Reason: "overlap", Means: "The successor is live.", Do: "Nothing."},
	{Reason: "held", Means: "A human holds the policy.", Do: "rotator release POLICY"},
	{Reason: "drift", Human: true, Means: "Someone changed a target.", Do: "rotator resolve POLICY"},
}

func (d *desk) at(t time.Time) { d.clock.Store(&t) }
func (d *desk) now() time.Time { return *d.clock.Load() }

func (d *desk) ok(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

// fails wants an error of the API with an exit code and a message.
func (d *desk) fails(err error, code int, message string) {
	d.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		d.Fatalf("error %v, want one of the API", err)
	}
	if e.Code != code || e.Message != message {
		d.Fatalf("error %d %q, want %d %q", e.Code, e.Message, code, message)
	}
}

// policies makes these the policies there are, due on the first of each month, 45 days old at most.
func (d *desk) policies(names ...string) {
	d.Helper()
	var specs []journal.Spec
	for _, n := range names {
		text := fmt.Sprintf(`{name: %s, team: research, owner: ml@example.com, schedule: "0 3 1 * *", max_age: 45d,
			key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}, targets: [{store: local, path: %s}]}`, n, n)
		list, problems := policies.Parse(n+".yaml", []byte(text), policies.Options{})
		if len(problems) > 0 {
			d.Fatal(problems)
		}
		specs = append(specs, journal.Spec{Name: n, Team: "research", Owner: "ml@example.com", Canonical: string(list[0].Canonical())})
	}
	d.ok(d.journal.SetPolicies(d.Context(), d.now(), specs))
}

// edit changes a policy's record as its owner does.
func (d *desk) edit(policy string, change func(*journal.Record), events ...journal.Event) {
	d.Helper()
	claims, err := d.journal.Claim(d.Context(), "owner", d.now().Add(9999*time.Hour), 1000)
	d.ok(err)
	for _, c := range claims {
		if c.Policy != policy {
			d.ok(d.journal.Release(d.Context(), c, d.now()))
			continue
		}
		rec, err := d.journal.Load(d.Context(), policy)
		d.ok(err)
		change(rec)
		d.ok(d.journal.Commit(d.Context(), c, rec, true, events...))
	}
}

// live is a rotation whose key consumers read since at, with two old keys to retire.
func live(policy, id string, at time.Time) *journal.Rotation {
	return &journal.Rotation{
		ID: id, Policy: policy, State: journal.Live, Trigger: journal.BySchedule, Spec: "{}", KeyRef: "ref-2", KeyID: "key-2", Fingerprint: "sha256:2",
		OldKeyIDs: "key-0 key-1", Tries: 1, StartedAt: at.Add(-time.Minute), EnteredAt: at, PromotingAt: at, LiveAt: at,
	}
}

// key is one that was created at a time. The last part of its id is that of its ref and its fingerprint.
func key(policy, n string, s journal.KeyState, created time.Time) journal.Key {
	k := journal.Key{
		Ref: "ref-" + n, ID: "key-" + n, Policy: policy, Team: "research", Name: "rotator-" + policy + "-ref-" + n, Origin: journal.OfAttempt,
		State: s, Fingerprint: "sha256:" + n, CreatedAt: created, ExposedAt: created,
	}
	if s == journal.LiveKey {
		k.LiveAt = created
	}
	return k
}

// old is a key that is being retired since at.
func old(policy, n string, created, at time.Time) journal.Key {
	k := key(policy, n, journal.RetiringKey, created)
	k.RetireFrom, k.TryAt, k.Reason, k.ReplacedBy = at, at.Add(24*time.Hour), "overlap", "ref-2"
	return k
}

// get asks the public address.
func (d *desk) get(path string) *httptest.ResponseRecorder {
	d.Helper()
	return d.ask(http.MethodGet, "127.0.0.1:8420", path)
}

func (d *desk) ask(method, host, path string) *httptest.ResponseRecorder {
	d.Helper()
	r := httptest.NewRequestWithContext(d.Context(), method, path, http.NoBody)
	r.Host = host
	w := httptest.NewRecorder()
	d.server.Public(nil).ServeHTTP(w, r)
	return w
}

// office fills the journal with one policy in each of the ways that a policy can be.
func (d *desk) office() {
	d.Helper()
	d.policies("chat-prod", "embed", "fresh", "gone", "stuck")
	d.edit("chat-prod", func(rec *journal.Record) {
		rec.Rotation = live("chat-prod", "rot-2", noon.Add(-time.Hour))
		rec.Keys = []journal.Key{
			key("chat-prod", "2", journal.LiveKey, noon.Add(-time.Hour)),
			old("chat-prod", "0", noon.Add(-720*time.Hour), noon.Add(-time.Hour)), old("chat-prod", "1", noon.Add(-360*time.Hour), noon.Add(-time.Hour)),
		}
		p := &rec.Policy
		p.LastSuccess, p.Reason, p.DueAt, p.DueCause = noon.Add(-time.Hour), "overlap", noon.Add(735*time.Hour), "schedule"
		p.Health, p.HealthReason, p.StaleAt = "progressing", "overlap", noon.Add(time.Minute)
	}, journal.Event{At: noon, Policy: "chat-prod", Rotation: "rot-2", Kind: journal.Promoted, Data: map[string]string{"key_id": "key-2"}})
	d.edit("embed", func(rec *journal.Record) {
		rec.Keys = []journal.Key{key("embed", "9", journal.LiveKey, noon.Add(-48*time.Hour))}
		rec.Keys[0].ExpiresAt = noon.Add(500 * time.Hour)
		is := grant.Grant{Name: rec.Keys[0].Name, ACLs: []string{"api-key:endpoint:chat", "api-key:model:grok-4"}, Expires: rec.Keys[0].ExpiresAt, Complete: true}
		rec.Keys[0].Shown = is.String()
		is.Name = "<mine>"
		rec.Keys[0].Listed = is.String()
		p := &rec.Policy
		p.LastSuccess, p.DueAt, p.Reason = noon.Add(-48*time.Hour), noon.Add(711*time.Hour), "held"
		p.Health, p.StaleAt = "ok", noon.Add(time.Minute)
		p.Error = `store local: permission denied <script>alert("x")</script>`
	})
	d.ok(d.journal.SetHold(d.Context(), noon, "embed", journal.Hold{Reason: "audit", By: "ann", At: noon.Add(-time.Hour),
		Until: noon.Add(5 * time.Hour)}, journal.Event{At: noon, Policy: "embed", Kind: journal.HoldSet}))
	d.edit("stuck", func(rec *journal.Record) {
		rec.Rotation = &journal.Rotation{ID: "rot-3", Policy: "stuck", State: journal.Planned, Trigger: journal.ByHand, Spec: "{}",
			StartedAt: noon.Add(-time.Minute), EnteredAt: noon.Add(-time.Minute), Tries: 2}
		rec.Rotation.TryAt = noon.Add(time.Minute)
		rec.Keys = []journal.Key{key("stuck", "5", journal.LiveKey, noon.Add(-2000*time.Hour))}
		p := &rec.Policy
		p.Reason, p.Error, p.Failures, p.LastSuccess = "drift", "local:stuck holds another value", 7, noon.Add(-2000*time.Hour)
		p.WantedAt, p.WantedTrigger, p.WantedWhy, p.WantedBy = noon.Add(-time.Minute), journal.ByHand, "audit of <b>keys</b>", "bob"
		p.Health, p.HealthReason, p.OverdueAt, p.OverdueReason = "action_required", "drift", noon.Add(time.Hour), "over_age"
		for _, path := range []string{"stuck", "other", "fine"} {
			rec.Targets = append(rec.Targets, journal.Target{TargetID: journal.TargetID{Store: "local", Path: path}, Policy: "stuck", Status: journal.TargetDrift})
		}
		rec.Targets[2].Status, rec.Targets[2].KeyID, rec.Targets[2].SeenAt = journal.TargetOK, "key-5", noon.Add(-time.Minute)
		rec.Targets[1].RemovedAt = noon.Add(-time.Hour)
	})
	d.policies("chat-prod", "embed", "fresh", "stuck")
	d.ok(d.journal.SaveTeam(d.Context(), journal.Team{Name: "research", ID: "team-1", ValidatedAt: noon, ListedAt: noon,
		Managed: 4, Unmanaged: 2, Orphans: 1, ManagementKeyID: "mk-1"}))
	d.ok(d.journal.SetMeta(d.Context(), journal.MetaManagementKey+"research", "mk-1 2026-02-28T12:00:00Z"))
	d.ok(d.journal.SetMeta(d.Context(), journal.MetaUnusedAt+"research", "2026-02-28T12:00:00Z"))
	d.ok(d.journal.SetMeta(d.Context(), journal.MetaKeys(journal.KeysUnused, "research"), "key-8 key-9"))
	d.ok(d.journal.SetMeta(d.Context(), journal.MetaBackup, "2026-02-28T10:00:00Z"))
}
