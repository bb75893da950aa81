package sqldb

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

// Place implements journal.Words.
func (db *DB) Place(ctx context.Context, o journal.Order) (id int64, err error) {
	if o.At.IsZero() {
		o.At = db.now()
	}
	err = db.writeTo(ctx, func(ctx context.Context, t tx) error {
		if err := db.mustWake(ctx, t, o.At, o.Policy); err != nil {
			return err
		}
		if _, err := one(ctx, t, []any{&id}, newOrders.insert+" RETURNING id", newOrders.args(&o)...); err != nil {
			return err
		}
		return db.append(ctx, t, []journal.Event{o.Event(id)})
	}, o.Policy)
	if err != nil {
		return 0, fmt.Errorf("order %s of %s: %w", o.Kind, o.Policy, err)
	}
	return id, nil
}

func (db *DB) mustWake(ctx context.Context, t tx, now time.Time, policy string) error {
	found, err := db.wake(ctx, t, now, policy)
	if err == nil && !found {
		err = journal.ErrNotFound
	}
	return err
}

// SetHold implements journal.Words. ErrNotFound: there is no such policy.
func (db *DB) SetHold(ctx context.Context, now time.Time, policy string, h journal.Hold, e journal.Event) error {
	err := db.writeTo(ctx, func(ctx context.Context, t tx) error {
		if err := db.mustWake(ctx, t, now, policy); err != nil {
			return err
		}
		if h != (journal.Hold{}) && h.At.IsZero() {
			h.At = now
		}
		if err := putHold(ctx, t, policy, h); err != nil {
			return err
		}
		return db.append(ctx, t, []journal.Event{e})
	}, policy)
	if err != nil {
		return fmt.Errorf("hold %s: %w", policy, err)
	}
	return nil
}

// putHold writes a policy's hold, or removes it where it is zero.
func putHold(ctx context.Context, t tx, policy string, h journal.Hold) error {
	if _, err := t.exec(ctx, `DELETE FROM holds WHERE policy = $1`, policy); err != nil || h == (journal.Hold{}) {
		return err
	}
	_, err := t.exec(ctx, `INSERT INTO holds (reason, said_by, scope, at, until, policy) VALUES ($1, $2, $3, $4, $5, $6)`,
		append(holds.args(&h), policy)...)
	return err
}

// Forget implements journal.Words. ErrNotFound: there is no such policy or target. ErrForbidden: the policy was not
// removed, has a rotation in flight, or a key that is being made or deleted; the target is one that its policy names.
// ErrBusy: as for SetPolicies. A policy that is forgotten loses its row too, with its hold and its orders; its keys become
// forgotten and stay, because their names are kept forever, and so do its rotations.
func (db *DB) Forget(ctx context.Context, now time.Time, policy string, target *journal.TargetID, e journal.Event) error {
	err := db.writeIdle(ctx, func(ctx context.Context, t tx) error {
		p, err := policies.first(ctx, t, "WHERE name = $1"+db.lockRow(), policy)
		if err != nil {
			return err
		}
		// Before the row is gone, which has the last link of the policy's chain: the event ends it.
		if err := db.append(ctx, t, []journal.Event{e}); err != nil {
			return err
		}
		if target != nil {
			return forgetTarget(ctx, t, p, *target)
		}
		return db.forgetPolicy(ctx, t, now, p)
	})
	if err != nil {
		return fmt.Errorf("forget %s: %w", policy, err)
	}
	return nil
}

func (db *DB) forgetPolicy(ctx context.Context, t tx, now time.Time, p journal.Policy) error {
	if p.RemovedAt.IsZero() {
		return fmt.Errorf("%w: the policy is still in the files", journal.ErrForbidden)
	}
	if p.RotationID != "" {
		return fmt.Errorf("%w: rotation %s is in flight", journal.ErrForbidden, p.RotationID)
	}
	if _, err := db.idle(ctx, t, now, p.Name); err != nil {
		return err
	}
	var ref, state string
	if found, err := one(ctx, t, []any{&ref, &state}, `SELECT ref, state FROM keys WHERE policy = $1 AND state IN ('creating', 'deleting')`, p.Name); err != nil {
		return err
	} else if found {
		return fmt.Errorf("%w: key %s is %s", journal.ErrForbidden, ref, state)
	}
	at, err := db.clock(ctx, t, now)
	if err != nil {
		return err
	}
	if err := letGo(ctx, t, micros(at), " AND policy = $2", p.Name); err != nil {
		return err
	}
	for _, table := range []string{"targets", "sightings", "orders"} {
		if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE policy = $1", p.Name); err != nil {
			return err
		}
	}
	_, err = t.exec(ctx, `DELETE FROM policies WHERE name = $1`, p.Name)
	return err
}

// letGo makes keys that are not gone forgotten, those of which also is true, and closes what was still to be done with them.
func letGo(ctx context.Context, t tx, at any, also string, args ...any) error {
	for _, s := range []string{
		`UPDATE keys SET state = 'forgotten' WHERE ` + notGone + ` AND CAST($1 AS BIGINT) IS NOT NULL`,
		`UPDATE effects SET state = CASE WHEN state = 'done' THEN state ELSE 'settled' END, closed_at = CAST($1 AS BIGINT) WHERE closed_at IS NULL`,
		`UPDATE rotations SET ended_at = CAST($1 AS BIGINT) WHERE state = 'live' AND ended_at IS NULL`,
	} {
		if _, err := t.exec(ctx, s+also, append([]any{at}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// forgetTarget needs nothing to stop: a commit never brings back a target that is gone.
func forgetTarget(ctx context.Context, t tx, p journal.Policy, id journal.TargetID) error {
	const where = "WHERE policy = $1 AND store = $2 AND path = $3 AND field = $4"
	g, err := targets.first(ctx, t, where, p.Name, id.Store, id.Path, id.Field)
	if err != nil {
		return err
	}
	if p.RemovedAt.IsZero() && g.RemovedAt.IsZero() {
		return fmt.Errorf("%w: the policy still names %s", journal.ErrForbidden, id)
	}
	for _, table := range []string{"sightings", "targets"} {
		if _, err = t.exec(ctx, "DELETE FROM "+table+" "+where, p.Name, id.Store, id.Path, id.Field); err != nil {
			return err
		}
	}
	return nil
}

// SaveTeam implements journal.Journal.
func (db *DB) SaveTeam(ctx context.Context, team journal.Team) error {
	err := db.writeTo(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, upsertTeam, teams.args(&team)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("save team %s: %w", team.Name, err)
	}
	return nil
}
