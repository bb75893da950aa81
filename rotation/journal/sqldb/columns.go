package sqldb

import (
	"strings"

	"rotator/rotation/journal"
)

// loaded are the columns of a policy that the loader writes; owned are those of the claim's owner, but for next_run_at,
// which only the release of a claim sets: a crash in the middle leaves the policy due.
const (
	loaded = "name team owner spec first_seen removed_at"
	owned  = "step_at due_at due_cause not_before watch_at rotation_id key_id fingerprint live_since last_success oldest_key " +
		"key_expires reason error since failures age_alert_at"
)

func ownedFields(p *journal.Policy) []any {
	return []any{
		instant{&p.StepAt}, instant{&p.DueAt}, &p.DueCause, instant{&p.NotBefore}, instant{&p.WatchAt},
		&p.RotationID, &p.KeyID, &p.Fingerprint, instant{&p.LiveSince}, instant{&p.LastSuccess}, instant{&p.OldestKey}, instant{&p.KeyExpires},
		(*string)(&p.Reason), &p.Error, instant{&p.Since}, &p.Failures, instant{&p.AgeAlertAt},
	}
}

var policies = newTable("policies", loaded+" next_run_at "+owned, func(p *journal.Policy) []any {
	return append([]any{
		&p.Name, &p.Team, &p.Owner, &p.Spec, instant{&p.FirstSeen}, instant{&p.RemovedAt}, instant{&p.NextRunAt},
	}, ownedFields(p)...)
})

// ownedPolicies is the table as the owner writes it.
var ownedPolicies = newTable("policies", "name "+owned, func(p *journal.Policy) []any {
	return append([]any{&p.Name}, ownedFields(p)...)
})

var rotations = newTable("rotations", `id policy state trigger why spec attempt key_id fingerprint old_key_ids tries
	started_at entered_at staged_at verified_at promoting_at live_at disabled_at ended_at propagated_at propagation_ok
	bad_since bad_count bad_at idle_wait_from discarded restored_at hold_after restore_key_id error`,
	func(r *journal.Rotation) []any {
		return []any{
			&r.ID, &r.Policy, (*string)(&r.State), (*string)(&r.Trigger), &r.Why, &r.Spec, &r.Attempt, &r.KeyID,
			&r.Fingerprint, (*string)(&r.OldKeyIDs), &r.Tries,
			instant{&r.StartedAt}, instant{&r.EnteredAt}, instant{&r.StagedAt}, instant{&r.VerifiedAt}, instant{&r.PromotingAt},
			instant{&r.LiveAt}, instant{&r.DisabledAt}, instant{&r.EndedAt}, instant{&r.PropagatedAt},
			flag{&r.PropagationOK}, instant{&r.BadSince}, &r.BadCount, instant{&r.BadAt}, instant{&r.IdleWaitFrom},
			flag{&r.Discarded}, instant{&r.RestoredAt}, &r.HoldAfter, &r.RestoreKeyID, &r.Error,
		}
	})

var attempts = newTable("attempts", `id rotation policy team name state key_id fingerprint
	created_at quarantine_until sweep_at settled_at error`,
	func(a *journal.Attempt) []any {
		return []any{
			&a.ID, &a.Rotation, &a.Policy, &a.Team, &a.Name, (*string)(&a.State), &a.KeyID, &a.Fingerprint,
			instant{&a.CreatedAt}, instant{&a.QuarantineUntil}, instant{&a.SweepAt}, instant{&a.SettledAt}, &a.Error,
		}
	})

var keys = newTable("keys", `id policy team name fingerprint origin attempt use created_at expires_at
	disable_sent_at disabled_at delete_sent_at deleted_at health health_at bad_answers`,
	func(k *journal.Key) []any {
		return []any{
			&k.ID, &k.Policy, &k.Team, &k.Name, &k.Fingerprint, (*string)(&k.Origin), &k.Attempt, (*string)(&k.Use),
			instant{&k.CreatedAt}, instant{&k.ExpiresAt}, instant{&k.DisableSentAt}, instant{&k.DisabledAt},
			instant{&k.DeleteSentAt}, instant{&k.DeletedAt}, &k.Health, instant{&k.HealthAt},
			&k.BadAnswers,
		}
	})

var targets = newTable("targets", `policy store path field status key_id fingerprint replaceable next_key_id prev_key_id
	prev_print decision decided_for contact_at seen_at removed_at error`,
	func(g *journal.Target) []any {
		return []any{
			&g.Policy, &g.Store, &g.Path, &g.Field, (*string)(&g.Status), &g.KeyID, &g.Fingerprint, &g.Replaceable,
			&g.NextKeyID, &g.PrevKeyID, &g.PrevPrint, (*string)(&g.Decision), &g.DecidedFor,
			instant{&g.ContactAt}, instant{&g.SeenAt}, instant{&g.RemovedAt}, &g.Error,
		}
	})

// orderColumns and orderFields leave out the id, which the database gives.
const orderColumns = `policy kind trigger supersede target_store target_path target_field decision key_ids why said_by
	at done_at refused rotation_id`

func orderFields(o *journal.Order) []any {
	return []any{
		&o.Policy, (*string)(&o.Kind), (*string)(&o.Trigger), flag{&o.Supersede}, &o.Target.Store, &o.Target.Path,
		&o.Target.Field, (*string)(&o.Decision), (*string)(&o.KeyIDs), &o.Why, &o.By, instant{&o.At}, instant{&o.DoneAt}, &o.Refused, &o.RotationID,
	}
}

var newOrders = newTable("orders", orderColumns, orderFields)

var orders = newTable("orders", "id "+orderColumns, func(o *journal.Order) []any {
	return append([]any{&o.ID}, orderFields(o)...)
})

var holds = newTable("holds", "reason said_by at until", func(h *journal.Hold) []any {
	return []any{&h.Reason, &h.By, instant{&h.At}, instant{&h.Until}}
})

var teams = newTable("teams", "name id scope management_key_id validated_at listed_at managed unmanaged orphans error",
	func(t *journal.Team) []any {
		return []any{
			&t.Name, &t.ID, &t.Scope, &t.ManagementKeyID, instant{&t.ValidatedAt}, instant{&t.ListedAt},
			&t.Managed, &t.Unmanaged, &t.Orphans, &t.Error,
		}
	})

// The statements that write rows. A guard that refuses a row shows as no row changed.
var (
	// An attempt keeps its name and its policy, a key its policy; what was deleted stays deleted.
	upsertAttempt = attempts.upsert("id", " WHERE attempts.policy = excluded.policy AND attempts.name = excluded.name")
	upsertKey     = keys.upsert("id", " WHERE keys.policy = excluded.policy"+
		" AND (keys.deleted_at IS NULL OR excluded.deleted_at IS NOT NULL)")
	updateTarget = targets.update("", "policy", "store", "path", "field")
	upsertTeam   = teams.upsert("name", "")
	// moves are the updates of a rotation by the state it goes to: only from a state that may go there.
	moves = func() map[journal.State]string {
		m := make(map[journal.State]string, len(journal.States))
		for _, to := range journal.States {
			var from []string
			for _, i := range journal.States {
				if i.State.May(to.State) {
					from = append(from, "'"+string(i.State)+"'")
				}
			}
			m[to.State] = rotations.update(" AND state IN ("+strings.Join(from, ", ")+")", "id", "policy")
		}
		return m
	}()
)
