package sqldb

import (
	"strings"

	"rotator/rotation/journal"
)

// loaded are the columns of a policy that the loader writes; owned are those of the claim's owner, but for next_run_at,
// which only the release of a claim sets: a crash in the middle leaves the policy due.
const (
	loaded = "name team owner spec first_seen removed_at file spec_error spec_at"
	owned  = "due_at due_cause not_before watch_at lost_keys stays_on wanted_at wanted_trigger wanted_why wanted_by " +
		"decommission_at decommission_why decommission_by decommission_outage decommissioned_at reconcile_mark " +
		"reconcile_from last_success reason error since failures age_alert_at held_at health " +
		"health_reason overdue_at overdue_reason proved_at stale_at rotation_id key_id fingerprint live_since oldest_key key_expires"
)

func ownedFields(p *journal.Policy) []any {
	return []any{
		instant{&p.DueAt}, &p.DueCause, instant{&p.NotBefore}, instant{&p.WatchAt}, &p.LostKeys, flag{&p.StaysOn},
		instant{&p.WantedAt}, (*string)(&p.WantedTrigger), &p.WantedWhy, &p.WantedBy,
		instant{&p.DecommissionAt}, &p.DecommissionWhy, &p.DecommissionBy, flag{&p.DecommissionOutage}, instant{&p.DecommissionedAt}, &p.ReconcileMark, instant{&p.ReconcileFrom},
		instant{&p.LastSuccess}, (*string)(&p.Reason), &p.Error, instant{&p.Since}, &p.Failures, instant{&p.AgeAlertAt},
		instant{&p.HeldAt}, (*string)(&p.Health), (*string)(&p.HealthReason), instant{&p.OverdueAt}, (*string)(&p.OverdueReason), instant{&p.ProvedAt}, instant{&p.StaleAt},
		&p.RotationID, &p.KeyID, &p.Fingerprint, instant{&p.LiveSince}, instant{&p.OldestKey}, instant{&p.KeyExpires},
	}
}

var policies = newTable("policies", loaded+" next_run_at chain "+owned, func(p *journal.Policy) []any {
	return append([]any{
		&p.Name, &p.Team, &p.Owner, &p.Spec, instant{&p.FirstSeen}, instant{&p.RemovedAt}, &p.File, &p.SpecError, instant{&p.SpecAt},
		instant{&p.NextRunAt}, &p.Chain,
	}, ownedFields(p)...)
})

// ownedPolicies is the table as the owner writes it.
var ownedPolicies = newTable("policies", "name "+owned, func(p *journal.Policy) []any {
	return append([]any{&p.Name}, ownedFields(p)...)
})

var rotations = newTable("rotations", `id policy state trigger why said_by spec key_ref key_id fingerprint existing old_key_ids tries
	started_at entered_at staged_at verified_at promoting_at canary_from canary_over live_at ended_at try_at failures reason error`,
	func(r *journal.Rotation) []any {
		return []any{
			&r.ID, &r.Policy, (*string)(&r.State), (*string)(&r.Trigger), &r.Why, &r.By, &r.Spec, &r.KeyRef, &r.KeyID,
			&r.Fingerprint, flag{&r.Existing}, (*string)(&r.OldKeyIDs), &r.Tries,
			instant{&r.StartedAt}, instant{&r.EnteredAt}, instant{&r.StagedAt}, instant{&r.VerifiedAt}, instant{&r.PromotingAt},
			instant{&r.CanaryFrom}, instant{&r.CanaryOver}, instant{&r.LiveAt}, instant{&r.EndedAt}, instant{&r.TryAt}, &r.Failures, (*string)(&r.Reason), &r.Error,
		}
	})

// ownKeyColumns are those of a key that only its owner writes; what lists say of it, [DB.SaveList] writes too. An owner who
// did not change those leaves them alone: his record may be older than the list.
const (
	ownKeyColumns = `ref id policy team name kept_name rotation spec origin state fingerprint created_at exposed_at live_at retire_from idle_from
		disabled_at deleted_at replaced_by retire_rotation compromised_at compromised_why compromised_by revoked_at propagated_at
		propagation_waived_at despite never_disabled health health_at bad_answers bad_since proved_at asked shown drift update_for refused
		update_at update_tries update_reason update_error try_at tries reason error`
	listedKeyColumns = ` user_id expires_at listed`
)

func ownKeyFields(k *journal.Key) []any {
	return []any{
		&k.Ref, &k.ID, &k.Policy, &k.Team, &k.Name, &k.KeptName, &k.Rotation, &k.Spec, (*string)(&k.Origin), (*string)(&k.State), &k.Fingerprint,
		instant{&k.CreatedAt}, instant{&k.ExposedAt}, instant{&k.LiveAt}, instant{&k.RetireFrom}, instant{&k.IdleFrom},
		instant{&k.DisabledAt}, instant{&k.DeletedAt}, &k.ReplacedBy, &k.RetireRotation,
		instant{&k.CompromisedAt}, &k.CompromisedWhy, &k.CompromisedBy, instant{&k.RevokedAt}, instant{&k.PropagatedAt}, instant{&k.PropagationWaivedAt},
		&k.Despite, flag{&k.NeverDisabled},
		(*string)(&k.Health), instant{&k.HealthAt}, &k.BadAnswers, instant{&k.BadSince}, instant{&k.ProvedAt},
		&k.Asked, &k.Shown, &k.Drift, &k.UpdateFor, &k.Refused, instant{&k.UpdateAt}, &k.UpdateTries, (*string)(&k.UpdateReason), &k.UpdateError,
		instant{&k.TryAt}, &k.Tries, (*string)(&k.Reason), &k.Error,
	}
}

var keys = newTable("keys", ownKeyColumns+listedKeyColumns, func(k *journal.Key) []any {
	return append(ownKeyFields(k), &k.UserID, instant{&k.ExpiresAt}, &k.Listed)
})

// ownKeys is the table as an owner writes it who changed nothing of what lists say.
var ownKeys = newTable("keys", ownKeyColumns, ownKeyFields)

var effects = newTable("effects", `id policy key_ref kind target_store target_path target_field state at quiet_at ack_at closed_at expected error`,
	func(e *journal.Effect) []any {
		return []any{
			&e.ID, &e.Policy, &e.Key, (*string)(&e.Kind), &e.Target.Store, &e.Target.Path, &e.Target.Field, (*string)(&e.State),
			instant{&e.At}, instant{&e.QuietAt}, instant{&e.AckAt}, instant{&e.ClosedAt}, &e.Expected, &e.Error,
		}
	})

var targets = newTable("targets", `policy store path field place status key_id fingerprint replaceable decision decided_for
	contact_at empty_from empty_at seen_at removed_at error`,
	func(g *journal.Target) []any {
		return []any{
			&g.Policy, &g.Store, &g.Path, &g.Field, &g.Place, (*string)(&g.Status), &g.KeyID, &g.Fingerprint, &g.Replaceable,
			(*string)(&g.Decision), &g.DecidedFor, instant{&g.ContactAt}, instant{&g.EmptyFrom}, instant{&g.EmptyAt},
			instant{&g.SeenAt}, instant{&g.RemovedAt}, &g.Error,
		}
	})

var sightings = newTable("sightings", `policy store path field fingerprint key_id first_seen absent_since`,
	func(s *journal.Sighting) []any {
		return []any{
			&s.Policy, &s.Store, &s.Path, &s.Field, &s.Fingerprint, &s.KeyID, instant{&s.FirstSeen}, instant{&s.AbsentSince},
		}
	})

// orderColumns and orderFields leave out the id, which the database gives.
const orderColumns = `policy kind trigger supersede false_alarm accept_outage target_store target_path target_field decision key_ids why said_by said_from
	at done_at refused rotation_id`

func orderFields(o *journal.Order) []any {
	return []any{
		&o.Policy, (*string)(&o.Kind), (*string)(&o.Trigger), flag{&o.Supersede}, flag{&o.FalseAlarm}, flag{&o.AcceptOutage}, &o.Target.Store, &o.Target.Path,
		&o.Target.Field, (*string)(&o.Decision), (*string)(&o.KeyIDs), &o.Why, &o.By, &o.From, instant{&o.At}, instant{&o.DoneAt}, &o.Refused, &o.RotationID,
	}
}

var newOrders = newTable("orders", orderColumns, orderFields)

var orders = newTable("orders", "id "+orderColumns, func(o *journal.Order) []any {
	return append([]any{&o.ID}, orderFields(o)...)
})

var holds = newTable("holds", "reason said_by scope at until", func(h *journal.Hold) []any {
	return []any{&h.Reason, &h.By, (*string)(&h.Scope), instant{&h.At}, instant{&h.Until}}
})

var teams = newTable("teams", "name id scope management_key_id validated_at listed_at managed unmanaged orphans error",
	func(t *journal.Team) []any {
		return []any{
			&t.Name, &t.ID, &t.Scope, &t.ManagementKeyID, instant{&t.ValidatedAt}, instant{&t.ListedAt},
			&t.Managed, &t.Unmanaged, &t.Orphans, &t.Error,
		}
	})

var loads = newTable("loads", "replica at policies problems error digest", func(l *journal.Load) []any {
	return []any{&l.Replica, instant{&l.At}, &l.Policies, &l.Problems, &l.Error, &l.Digest}
})

// The statements that write rows. A guard that refuses a row shows as no row changed.
var (
	// A key that is not known to the record is new, or one that was forgotten and is adopted again, be it by another policy.
	addKey = keys.upsert("ref", " WHERE keys.name = excluded.name AND keys.state = 'forgotten' AND excluded.state IN ("+
		quoted(journal.ForgottenKey.Info().To)+")")
	// The loader makes a row for a target that nothing read yet.
	addTarget = targets.upsert("policy, store, path, field", " WHERE targets.contact_at IS NULL AND targets.status = ''")
	// A sighting is of a target that there is: one that was forgotten meanwhile does not come back.
	addSighting = strings.Replace(sightings.upsert("policy, store, path, field, fingerprint", ""), "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		"SELECT $1, $2, $3, $4, $5, $6, CAST($7 AS BIGINT), CAST($8 AS BIGINT) FROM targets WHERE policy = $1 AND store = $2 AND path = $3 AND field = $4", 1)
	removeSighting = "DELETE FROM sightings WHERE policy = $1 AND store = $2 AND path = $3 AND field = $4 AND fingerprint = $5"
	upsertTeam     = teams.upsert("name", "")
)

func keyState(i journal.KeyStateInfo) journal.KeyState { return i.State }

// quoted lists states as SQL has them.
func quoted[S ~string](states []S) string {
	list := make([]string, len(states))
	for i, s := range states {
		list[i] = "'" + string(s) + "'"
	}
	return strings.Join(list, ", ")
}

// notGone is a condition: something is left to do with a key. Records are loaded without the others.
var notGone = "state NOT IN (" + quoted([]journal.KeyState{journal.DeletedKey, journal.AbsentKey, journal.ForgottenKey}) + ")"
