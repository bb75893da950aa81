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
	err = db.write(ctx, func(ctx context.Context, t tx) error {
		if err := db.mustWake(ctx, t, o.At, o.Policy); err != nil {
			return err
		}
		_, err := one(ctx, t, []any{&id}, newOrders.insert+" RETURNING id", newOrders.args(&o)...)
		return err
	})
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
	err := db.write(ctx, func(ctx context.Context, t tx) error {
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
	})
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
	_, err := t.exec(ctx, `INSERT INTO holds (reason, said_by, at, until, policy) VALUES ($1, $2, $3, $4, $5)`,
		append(holds.args(&h), policy)...)
	return err
}

// ReopenAttempt implements journal.Journal. ErrNotFound: there is no such attempt, or its policy was forgotten: then
// no key of its name is ours any more. An attempt that is not settled stays as it is, and its policy is woken all the same.
func (db *DB) ReopenAttempt(ctx context.Context, now time.Time, id string) error {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		a, err := attempts.first(ctx, t, "WHERE id = $1", id)
		if err != nil {
			return err
		}
		// The policy's row first, as in every transaction: two of them cannot wait for each other.
		if err := db.mustWake(ctx, t, now, a.Policy); err != nil {
			return err
		}
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE attempts SET state = $2, settled_at = NULL, sweep_at = $3
			WHERE id = $1 AND state = 'settled'`, id, string(journal.InDoubt), micros(at))
		return err
	})
	if err != nil {
		return fmt.Errorf("reopen attempt %s: %w", id, err)
	}
	return nil
}

// SetExpiry implements journal.Journal.
func (db *DB) SetExpiry(ctx context.Context, now time.Time, keyID string, expires time.Time) error {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		k, err := keys.first(ctx, t, "WHERE id = $1", keyID)
		if err != nil {
			return err
		}
		if err := db.mustWake(ctx, t, now, k.Policy); err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE keys SET expires_at = $2 WHERE id = $1`, keyID, micros(expires))
		return err
	})
	if err != nil {
		return fmt.Errorf("expiry of key %s: %w", keyID, err)
	}
	return nil
}

// Forget implements journal.Words. ErrNotFound: there is no such policy or target. ErrForbidden: the policy was not
// removed, or has a rotation in flight; the target is one that its policy names. ErrBusy: as for SetPolicies. A policy
// that is forgotten loses its row too, with its hold and its orders; rotations and attempts stay, because names of
// attempts are kept for ever.
func (db *DB) Forget(ctx context.Context, now time.Time, policy string, target *journal.TargetID, e journal.Event) error {
	err := db.writeIdle(ctx, func(ctx context.Context, t tx) error {
		p, err := policies.first(ctx, t, "WHERE name = $1"+db.lockRow(), policy)
		if err != nil {
			return err
		}
		if target != nil {
			err = forgetTarget(ctx, t, p, *target)
		} else {
			err = db.forgetPolicy(ctx, t, now, p)
		}
		if err != nil {
			return err
		}
		return db.append(ctx, t, []journal.Event{e})
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
	for _, table := range []string{"targets", "keys", "orders"} {
		if _, err := t.exec(ctx, "DELETE FROM "+table+" WHERE policy = $1", p.Name); err != nil {
			return err
		}
	}
	_, err := t.exec(ctx, `DELETE FROM policies WHERE name = $1`, p.Name)
	return err
}

// forgetTarget needs nobody to stop: a commit never brings back a target that is gone.
func forgetTarget(ctx context.Context, t tx, p journal.Policy, id journal.TargetID) error {
	const where = "WHERE policy = $1 AND store = $2 AND path = $3 AND field = $4"
	g, err := targets.first(ctx, t, where, p.Name, id.Store, id.Path, id.Field)
	if err != nil {
		return err
	}
	if p.RemovedAt.IsZero() && g.RemovedAt.IsZero() {
		return fmt.Errorf("%w: the policy still names %s", journal.ErrForbidden, id)
	}
	_, err = t.exec(ctx, "DELETE FROM targets "+where, p.Name, id.Store, id.Path, id.Field)
	return err
}

// SaveTeam implements journal.Journal.
func (db *DB) SaveTeam(ctx context.Context, team journal.Team) error {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, upsertTeam, teams.args(&team)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("save team %s: %w", team.Name, err)
	}
	return nil
}
