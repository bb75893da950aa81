package api_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"rotator/internal/api"
	"rotator/rotation/journal"
)

// scrape returns the metrics of ours, without the comments.
func (d *desk) scrape() string {
	d.Helper()
	w := d.get("/metrics")
	if w.Code != 200 {
		d.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var ours []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "rotator_") {
			ours = append(ours, strings.TrimSpace(line))
		}
	}
	return strings.Join(ours, "\n") + "\n"
}

// tells wants lines to be among the metrics.
func (d *desk) tells(lines ...string) {
	d.Helper()
	got := d.scrape()
	for _, want := range lines {
		if !strings.Contains("\n"+got, "\n"+want+"\n") {
			d.Errorf("the metrics lack %s", want)
		}
	}
	if d.Failed() {
		d.Log(got)
	}
}

func (d *desk) observe() {
	d.server.ObserveStep("", "waits", "", time.Millisecond)
	d.server.ObserveStep("staged", "waits", "propagation", 700*time.Millisecond)
	d.server.ObserveXAI("create", "unknown", 2*time.Second)
	d.server.ObserveStore("vault", "promote", "ok", 30*time.Millisecond)
	d.server.ObserveNotify("webhook", 4)
}

func TestMetricsKeepToTheConventions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	d.observe()
	problems, err := promlint.New(d.get("/metrics").Body).Lint()
	d.ok(err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	d.observe()
	look := noon.Add(-time.Second)
	d.engine.look.Store(&look)
	d.tells(
		`rotator_build_info{commit="abc123",goversion="`+runtime.Version()+`",version="v1.2.3"} 1`,
		`rotator_journal_up 1`,
		`rotator_scheduler_last_look_timestamp_seconds 1.772366399e+09`,
		`rotator_key_age_seconds{policy="chat-prod"} 2.592e+06`,
		`rotator_key_age_limit_seconds{policy="chat-prod"} 3.888e+06`,
		`rotator_key_retirement_age_seconds{policy="chat-prod"} 3.8844e+06`,
		`rotator_last_success_timestamp_seconds{policy="chat-prod"} 1.7723628e+09`,
		`rotator_policy_waiting{policy="stuck",reason="drift"} 1`,
		`rotator_policy_health{health="progressing",policy="chat-prod"} 1`,
		`rotator_policy_health{health="ok",policy="chat-prod"} 0`,
		`rotator_policy_health{health="degraded",policy="embed"} 1`,
		`rotator_policy_health{health="degraded",policy="fresh"} 1`,
		`rotator_policy_health{health="action_required",policy="stuck"} 1`,
		`rotator_policy_health{health="overdue",policy="stuck"} 0`,
		`rotator_policy_info{owner="ml@example.com",policy="stuck",team="research"} 1`,
		`rotator_policies{state="idle"} 2`,
		`rotator_policies{state="overlap"} 1`,
		`rotator_policies{state="planned"} 0`,
		`rotator_policies{state="removed"} 1`,
		`rotator_policies{state="blocked"} 1`,
		`rotator_policies_held 1`,
		`rotator_steps_stuck 1`,
		`rotator_predecessors_unretired 0`,
		`rotator_orphan_keys{team="research"} 1`,
		`rotator_team_up{team="research"} 1`,
		`rotator_team_keys{kind="managed",team="research"} 4`,
		`rotator_team_keys{kind="unmanaged",team="research"} 2`,
		`rotator_drifted_targets{policy="stuck"} 2`,
		`rotator_management_key_age_seconds{team="research"} 86400`,
		`rotator_rotations_total{outcome="done",step="live"} 0`,
		`rotator_steps_total{outcome="waits",state="staged"} 1`,
		`rotator_trace_spans_total{outcome="dropped"} 3`,
		`rotator_log_lines_dropped_total 12`,
		`rotator_policy_next_run_timestamp_seconds{policy="chat-prod"} 1.7750124e+09`,
		`rotator_last_backup_timestamp_seconds 1.7722728e+09`,
		`rotator_step_duration_seconds_count{state="idle"} 1`,
		`rotator_step_duration_seconds_bucket{state="staged",le="1"} 1`,
		`rotator_step_waits_total{reason="propagation"} 1`,
		`rotator_xai_requests_total{class="unknown",op="create"} 1`,
		`rotator_xai_request_duration_seconds_sum{op="create"} 2`,
		`rotator_store_requests_total{op="promote",outcome="ok",store="vault"} 1`,
		`rotator_store_request_duration_seconds_count{op="promote",store="vault"} 1`,
		`rotator_notify_failures_in_a_row{sink="webhook"} 4`,
	)
	if got := d.scrape(); strings.Contains(got, `rotator_drifted_targets{policy="chat-prod"`) || strings.Contains(got, `rotator_policy_waiting{policy="chat-prod"`) || strings.Contains(got, `rotator_key_age_seconds{policy="fresh"`) {
		t.Errorf("a policy says what it does not have:\n%s", got)
	}
}

func TestPredecessorsThatShouldBeGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office() // live since an hour ago, with two old keys and an overlap and a soak of 24 h
	d.at(noon.Add(23*time.Hour - time.Second))
	d.tells(`rotator_predecessors_unretired 0`)
	d.at(noon.Add(23*time.Hour + time.Second))
	d.tells(`rotator_predecessors_unretired 2`)
	d.edit("chat-prod", func(rec *journal.Record) {
		for i := range rec.Keys {
			if k := &rec.Keys[i]; k.State == journal.RetiringKey {
				k.State, k.DisabledAt = journal.DisabledKey, noon.Add(23*time.Hour)
			}
		}
	})
	d.at(noon.Add(46 * time.Hour))
	d.tells(`rotator_predecessors_unretired 0`)
	d.at(noon.Add(47 * time.Hour))
	d.tells(`rotator_predecessors_unretired 2`)
}

func TestOutcomesAreCountedFromTheStart(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ended := func(k journal.Kind, reached journal.State, n int, at time.Time) {
		d.Helper()
		for range n {
			d.ok(d.journal.Record(t.Context(), journal.Event{At: at, Policy: "a", Kind: k, Data: map[string]string{"reached": string(reached)}}))
		}
	}
	ended(journal.Finished, journal.Live, 5, noon.Add(-time.Hour)) // counted by the process before
	ended(journal.Finished, journal.Live, 2, noon)
	ended(journal.Promoted, "", 3, noon)
	d.tells(`rotator_rotations_total{outcome="done",step="live"} 2`, `rotator_rotations_total{outcome="aborted",step="planned"} 0`)
	ended(journal.Finished, journal.Live, 1200, noon) // more than a page
	ended(journal.AbortEnded, journal.Staged, 1, noon)
	ended(journal.RollbackEnded, journal.Live, 1, noon)
	d.ok(d.journal.Record(t.Context(), journal.Event{At: noon, Policy: "a", Kind: journal.Finished, // its old key is gone: it was counted when it was live
		Data: map[string]string{"reached": "live", "trigger": string(journal.ByRollback)}}))
	ended(journal.TakenOver, journal.Promoting, 1, noon)
	d.tells(`rotator_rotations_total{outcome="done",step="live"} 2`) // a scrape in the same second costs nothing
	d.at(noon.Add(time.Second))
	d.tells(`rotator_rotations_total{outcome="done",step="live"} 1202`,
		`rotator_rotations_total{outcome="aborted",step="staged"} 1`, `rotator_rotations_total{outcome="rolled_back",step="live"} 1`,
		`rotator_rotations_total{outcome="superseded",step="promoting"} 1`, `rotator_rotations_total{outcome="aborted",step="planned"} 0`)
}

// TestManagementKeyAge: the age counts from when this key was first seen, also when another takes its place.
func TestManagementKeyAge(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	seen := func(id, meta string) {
		d.Helper()
		d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", ManagementKeyID: id}))
		d.ok(d.journal.SetMeta(t.Context(), journal.MetaManagementKey+"research", meta))
	}
	seen("mk-1", "mk-1 2026-02-28T12:00:00Z")
	d.tells(`rotator_management_key_age_seconds{team="research"} 86400`)
	seen("mk-2", "mk-1 2026-02-28T12:00:00Z") // the other is about to be noted
	d.at(noon.Add(time.Minute))
	if got := d.scrape(); strings.Contains(got, "rotator_management_key_age_seconds{") {
		t.Errorf("the age of a key that nothing is known of:\n%s", got)
	}
	seen("mk-2", "mk-2 2026-03-01T12:01:00Z")
	d.at(noon.Add(2 * time.Minute))
	d.tells(`rotator_management_key_age_seconds{team="research"} 60`)
}

// TestGaugesAreThereFromTheStart: a process that has just begun reports of policies, keys and teams what the one before reported.
func TestGaugesAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	gauges := func() (found []string) {
		for line := range strings.Lines(d.scrape()) {
			if !strings.Contains(line, "_total{") && !strings.Contains(line, "_total ") {
				found = append(found, line)
			}
		}
		return found
	}
	before := gauges()
	d.server = api.New(api.Options{Journal: d.journal, Scheduler: d.engine, Reasons: reasons, Version: "v1.2.3", Commit: "abc123", Now: d.now,
		Loaded: func() api.Loading { return *d.loading.Load() }})
	if diff := cmp.Diff(before, gauges()); diff != "" || len(before) < 25 {
		t.Errorf("%d before; then %s", len(before), diff)
	}
}

// TestTeamDown: a team that cannot be looked at is reported at once, and not only when a rotation is due.
func TestTeamDown(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "research", ValidatedAt: noon, ListedAt: noon, Error: "unauthenticated"}))
	d.tells(`rotator_team_up{team="research"} 0`)
}

// TestFormerTeam: a team that was taken out of the configuration is not reported any more: nothing could end its alerts.
func TestFormerTeam(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	d.ok(d.journal.SaveTeam(t.Context(), journal.Team{Name: "former", ID: "team-2", ListedAt: noon, Orphans: 3}))
	d.tells(`rotator_orphan_keys{team="research"} 1`)
	if strings.Contains(d.scrape(), "former") {
		t.Error("a team that is no more is told of")
	}
}

func TestMetricsWithoutAJournal(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.office()
	d.tells(`rotator_journal_up 1`)
	d.journal.down.Store(true)
	d.at(noon.Add(time.Minute))
	d.tells(`rotator_journal_up 0`, `rotator_trace_spans_total{outcome="dropped"} 3`)
	if strings.Contains(d.scrape(), "rotator_key_age_seconds{") {
		t.Error("what the journal knew is told although it does not answer")
	}
	d.journal.down.Store(false)
	d.tells(`rotator_journal_up 1`)
}
