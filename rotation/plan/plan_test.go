package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/plan"
)

var monday = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func hours(n int) policies.Duration { return policies.Duration(time.Duration(n) * time.Hour) }

func text(rows []plan.Row) string {
	var lines []string
	for _, r := range rows {
		at := "-"
		if !r.At.IsZero() {
			at = r.At.Format("01-02 15:04")
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", at, r.Action, r.KeyID, r.Target, r.Detail)))
	}
	return strings.Join(lines, "\n")
}

func TestOf(t *testing.T) {
	t.Parallel()
	day := func(s string) policies.Moment {
		m, err := policies.ParseMoment(s)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	policy := func() *policies.Policy {
		return &policies.Policy{Name: "chat", Schedule: "0 3 * * *", Key: policies.KeySpec{ACLs: []string{"api-key:model:*"}}, Retire: policies.Retire{Overlap: hours(2), Soak: hours(4)}}
	}
	record := func() *journal.Record {
		return &journal.Record{Policy: journal.Policy{Name: "chat", KeyID: "k1", LastSuccess: monday.Add(-24 * time.Hour)},
			Keys: []journal.Key{{Ref: "1", ID: "k1", State: journal.LiveKey, CreatedAt: monday.Add(-24 * time.Hour)}}}
	}
	promote := []plan.Finding{{Target: "a:chat", Action: plan.Promote, KeyID: "k1", Detail: "replaces the key in use"}}
	holidays := []policies.Freeze{{From: day("2026-12-01"), To: day("2026-12-03"), Why: "launch"}}
	for name, c := range map[string]struct {
		change func(*plan.Question)
		want   string
	}{
		"the next rotation": {func(q *plan.Question) { q.Record.Policy.LastSuccess = monday }, `
12-01 03:00 rotate   because of schedule, then 2026-12-02T03:00:00Z, then 2026-12-03T03:00:00Z
12-01 03:00 create   api-key:model:*
12-01 03:00 promote k1 a:chat replaces the key in use
12-01 05:00 disable k1
12-01 09:00 delete k1`},
		"a canary": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Policy.Canary = monday, policies.Canary{Target: "a:chat", For: hours(1)}
			q.Found = append(q.Found, plan.Finding{Target: "b:chat", Action: plan.Promote, KeyID: "k1"})
		}, `
12-01 03:00 rotate   because of schedule, then 2026-12-02T03:00:00Z, then 2026-12-03T03:00:00Z
12-01 03:00 create   api-key:model:*
12-01 03:00 promote k1 a:chat replaces the key in use; the canary: the others follow once its consumers use the key, or when its time is over
12-01 04:00 promote k1 b:chat
12-01 06:00 disable k1
12-01 10:00 delete k1`},
		"on its canary": {func(q *plan.Question) {
			q.Policy.Canary = policies.Canary{Target: "a:chat", For: hours(6)}
			q.Record.Rotation = &journal.Rotation{ID: "r1", State: journal.Promoting, Trigger: journal.BySchedule, KeyID: "k2", StartedAt: monday.Add(-time.Hour), CanaryFrom: monday.Add(-time.Hour)}
			q.Until = monday.Add(24 * time.Hour)
			q.Found = nil
		}, `
11-30 11:00 rotate k2  rotation r1 is promoting (schedule)
11-30 17:00 promote k2  to the targets other than the canary a:chat, which holds it; earlier if its consumers use it
11-30 19:00 disable k1
11-30 23:00 delete k1
12-01 03:00 rotate   because of schedule
12-01 03:00 create   api-key:model:*
- wait   every target was left or dropped: edit the policy's targets, or resolve one with --overwrite
12-01 05:00 disable k2
12-01 09:00 delete k2`},
		"a canary where a target waits for its first key": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Policy.Canary = monday, policies.Canary{Target: "a:chat", For: hours(1)}
			q.Found = append(q.Found, plan.Finding{Target: "b:chat", Action: plan.Promote, Empty: true})
		}, `
11-30 12:00 rotate   because of new_target, then 2026-12-01T03:00:00Z, then 2026-12-02T03:00:00Z
11-30 12:00 create   api-key:model:*
11-30 12:00 promote k1 a:chat replaces the key in use
11-30 12:00 promote  b:chat
11-30 14:00 disable k1
11-30 18:00 delete k1`},
		"every one for three days": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Until = monday, monday.Add(72*time.Hour)
			q.Found = nil
		}, `
12-01 03:00 rotate   because of schedule
12-02 03:00 rotate   because of schedule
12-03 03:00 rotate   because of schedule
12-01 03:00 create   api-key:model:*
- wait   every target was left or dropped: edit the policy's targets, or resolve one with --overwrite
12-01 05:00 disable k1
12-01 09:00 delete k1`},
		"a window": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Policy.Windows, q.Until = monday, []string{"Wed 08:00-10:00"}, monday.Add(72*time.Hour)
		}, `
12-02 08:00 rotate   because of schedule, due 2026-12-01T03:00:00Z, when no window is open
12-02 08:00 create   api-key:model:*
12-02 08:00 promote k1 a:chat replaces the key in use
12-02 10:00 disable k1
12-02 14:00 delete k1`},
		"a freeze": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Freezes, q.Until = monday, holidays, monday.Add(110*time.Hour)
			q.Record.Keys = append(q.Record.Keys, journal.Key{Ref: "0", ID: "k0", State: journal.RetiringKey, RetireFrom: monday.Add(11 * time.Hour)})
		}, `
12-04 00:00 disable k0
12-04 04:00 delete k0
12-04 00:00 rotate   because of schedule, due 2026-12-01T03:00:00Z, in a freeze: launch
12-04 03:00 rotate   because of schedule
12-04 00:00 create   api-key:model:*
12-04 00:00 promote k1 a:chat replaces the key in use
12-04 02:00 disable k1
12-04 06:00 delete k1`},
		"decommissioned": {func(q *plan.Question) {
			q.Record.Policy.DecommissionAt, q.Record.Policy.DecommissionBy, q.Record.Policy.DecommissionWhy = monday, "ann", "shut down"
		}, "- wait   decommissioned by ann: shut down; no rotation begins\n- disable k1  when its use shows that no one needs it"},
		"a hold without an end": {func(q *plan.Question) {
			q.Record.Policy.LastSuccess, q.Record.Hold = monday, journal.Hold{By: "ann", Reason: "incident", At: monday.Add(-time.Hour), Scope: journal.HoldAll}
		}, `
- wait   held by ann: incident
12-01 03:00 rotate   because of schedule, once it is released
12-01 03:00 create   api-key:model:*
12-01 03:00 promote k1 a:chat replaces the key in use
12-01 05:00 disable k1
12-01 09:00 delete k1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := plan.Question{Policy: policy(), Record: record(), Found: promote, Now: monday}
			c.change(&q)
			if got := text(plan.Of(q)); got != strings.TrimSpace(c.want) {
				t.Errorf("predicted\n%s\nwant\n%s", got, strings.TrimSpace(c.want))
			}
		})
	}
}
