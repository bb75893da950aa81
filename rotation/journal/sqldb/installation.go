package sqldb

import (
	"context"
	"fmt"
	"time"

	"rotator/rotation/journal"
)

// The facts about whose journal it is.
const (
	metaInstallation = "installation"
	metaStranger     = "installation/stranger/" // and a name: the mark that this other one made when it first opened the journal
)

// SetInstallation implements journal.Journal. A process that has no name, since it can reach nothing of anyone's, is no
// stranger.
func (db *DB) SetInstallation(ctx context.Context, now time.Time, name string) (claimed bool, err error) {
	if name == "" {
		return true, nil
	}
	err = db.write(ctx, func(ctx context.Context, t tx) error {
		if err := db.beforeLoading(ctx, t); err != nil { // replicas that start together do so one after the other
			return err
		}
		owner := ""
		known, err := one(ctx, t, []any{&owner}, `SELECT value FROM meta WHERE name = $1`, metaInstallation)
		claimed = !known || owner == name
		switch {
		case err != nil:
			return err
		case !known:
			_, err := t.exec(ctx, setMeta, metaInstallation, name)
			return err
		case claimed:
			return nil
		}
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		return db.meetStranger(ctx, t, at, name)
	})
	if err != nil {
		return false, fmt.Errorf("installation %s: %w", name, err)
	}
	return claimed, nil
}

// meetStranger has everything compared again for an installation that was not seen before.
func (db *DB) meetStranger(ctx context.Context, t tx, at time.Time, name string) error {
	met, err := one(ctx, t, []any{new(string)}, `SELECT value FROM meta WHERE name = $1`, metaStranger+name)
	if err != nil || met {
		return err
	}
	mark := "installation " + name + " " + at.Format(time.RFC3339Nano)
	for _, key := range []string{metaStranger + name, journal.MetaRestored} {
		if _, err := t.exec(ctx, setMeta, key, mark); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `UPDATE policies SET `+woken(`CAST($1 AS BIGINT)`), micros(at)); err != nil {
		return err
	}
	return db.tell(ctx, t)
}

// ClaimInstallation implements journal.Journal. An installation that never opened the journal has everything compared again
// as one that did. Orders that the original was given are refused in a copy.
func (db *DB) ClaimInstallation(ctx context.Context, now time.Time, name string, asCopy bool, e journal.Event) error {
	err := db.writeIdle(ctx, func(ctx context.Context, t tx) error {
		if err := db.beforeLoading(ctx, t); err != nil {
			return err
		}
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		// It locks every policy: nothing claims one until this is over.
		if _, err := t.exec(ctx, `UPDATE policies SET `+woken(`CAST($1 AS BIGINT)`), micros(at)); err != nil {
			return err
		}
		var policy, claimant string
		busy, err := one(ctx, t, []any{&policy, &claimant}, `SELECT name, lease_owner FROM policies
			WHERE lease_owner <> '' AND (lease_until IS NULL OR lease_until >= $1) LIMIT 1`, micros(at))
		if err == nil && busy {
			err = fmt.Errorf("%w: %s, by %s", journal.ErrBusy, policy, claimant)
		}
		if err != nil {
			return err
		}
		if err := db.handOver(ctx, t, at, name); err != nil {
			return err
		}
		if asCopy {
			if err := forgetAll(ctx, t, at); err != nil {
				return err
			}
		}
		if err := db.append(ctx, t, []journal.Event{e}); err != nil {
			return err
		}
		return db.tell(ctx, t)
	})
	if err != nil {
		return fmt.Errorf("claim the journal for installation %s: %w", name, err)
	}
	return nil
}

// handOver makes the journal that of the named installation. Who had it until now is a stranger when it comes again.
func (db *DB) handOver(ctx context.Context, t tx, at time.Time, name string) error {
	owner := ""
	if _, err := one(ctx, t, []any{&owner}, `SELECT value FROM meta WHERE name = $1`, metaInstallation); err != nil {
		return err
	}
	if owner != name {
		if err := db.meetStranger(ctx, t, at, name); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `DELETE FROM meta WHERE substr(name, 1, length($1)) = $1`, metaStranger); err != nil {
		return err
	}
	_, err := t.exec(ctx, setMeta, metaInstallation, name)
	return err
}

// forgetAll lets every key go and forgets what targets were seen to hold: all of it is the original's. Holds stay.
func forgetAll(ctx context.Context, t tx, at time.Time) error {
	const why = `'the journal was copied'`
	for _, s := range []string{
		`UPDATE rotations SET state = CASE state WHEN 'promoting' THEN 'superseded' ELSE 'aborted' END, error = ` + why + `,
			entered_at = CAST($1 AS BIGINT), ended_at = CAST($1 AS BIGINT) WHERE state IN ('planned', 'staged', 'verified', 'promoting')`,
		`UPDATE orders SET done_at = CAST($1 AS BIGINT), refused = ` + why + ` WHERE done_at IS NULL`,
	} {
		if _, err := t.exec(ctx, s, micros(at)); err != nil {
			return err
		}
	}
	if err := letGo(ctx, t, micros(at), ""); err != nil {
		return err
	}
	for _, s := range []string{
		`DELETE FROM sightings`,
		`UPDATE targets SET place = '', status = '', key_id = '', fingerprint = '', replaceable = '', decision = '', decided_for = '',
			contact_at = NULL, empty_from = NULL, empty_at = NULL, seen_at = NULL, error = ''`,
		`UPDATE policies SET due_at = NULL, due_cause = '', not_before = NULL, watch_at = NULL, lost_keys = 0, stays_on = 0,
			wanted_at = NULL, wanted_trigger = '', wanted_why = '', wanted_by = '',
			decommission_at = NULL, decommission_why = '', decommission_by = '', decommission_outage = 0, decommissioned_at = NULL, reconcile_from = NULL, last_success = NULL,
			reason = '', error = '', since = NULL, failures = 0, age_alert_at = NULL, held_at = NULL,
			health = '', health_reason = '', overdue_at = NULL, overdue_reason = '', proved_at = NULL, stale_at = NULL,
			rotation_id = '', key_id = '', fingerprint = '', live_since = NULL, oldest_key = NULL, key_expires = NULL`,
	} {
		if _, err := t.exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
