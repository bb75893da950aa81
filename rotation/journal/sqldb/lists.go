package sqldb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"rotator/rotation/journal"
)

// Reopen implements journal.Journal. ErrForbidden: what is listed has another id than the key that was deleted. A key that a
// human let go stays as it is, and wakes nothing.
func (db *DB) Reopen(ctx context.Context, now time.Time, ref string, listed journal.ListedKey) error {
	err := db.write(ctx, func(ctx context.Context, t tx) error {
		k, err := keys.first(ctx, t, "WHERE ref = $1", ref)
		if err != nil {
			return err
		}
		if k.State == journal.ForgottenKey {
			found, err := one(ctx, t, []any{new(string)}, `SELECT name FROM policies WHERE name = $1`, k.Policy)
			if err == nil && !found {
				err = journal.ErrNotFound
			}
			return err
		}
		// The policy's row first, as in every transaction: two of them cannot wait for each other.
		if err := db.mustWake(ctx, t, now, k.Policy); err != nil {
			return err
		}
		was := k.State
		switch was {
		case journal.DeletedKey:
			if k.ID != listed.ID {
				return fmt.Errorf("%w: its id is %s, and xAI lists one of that name under %s", journal.ErrForbidden, k.ID, listed.ID)
			}
			k.State, k.DeletedAt = journal.DeletingKey, time.Time{}
		case journal.AbsentKey:
			k.State, k.ID = journal.RejectedKey, listed.ID
		default:
			return nil
		}
		k.UserID, k.ExpiresAt, k.Listed = listed.UserID, listed.ExpiresAt, listed.Grant
		k.TryAt, k.Tries, k.Reason, k.Error = time.Time{}, 0, "", ""
		// Someone may have reopened it just now.
		n, err := t.exec(ctx, reopenKey, append(keys.args(&k), string(was))...)
		if err != nil || n == 0 {
			return err
		}
		e := journal.Event{At: now, Policy: k.Policy, Kind: journal.AttemptReopened, Data: map[string]string{"was": string(was)}}
		for said := range slices.Chunk(k.Explanation(), 2) {
			e.Data[said[0]] = said[1]
		}
		return db.append(ctx, t, []journal.Event{e})
	})
	if err != nil {
		return fmt.Errorf("reopen key %s: %w", ref, err)
	}
	return nil
}

var reopenKey = keys.update(fmt.Sprintf(" AND state = $%d", len(keys.names)+1), "ref")

// listing is what the journal knows from lists of a key.
type listing struct {
	id, policy, userID string
	expires            time.Time
	off                bool
	grant              string
}

// SaveList implements journal.Journal. A list in which nothing changed is one question, and writes nothing.
func (db *DB) SaveList(ctx context.Context, now time.Time, team string, listed []journal.ListedKey) error {
	err := db.saveList(ctx, now, team, listed)
	if err != nil {
		return fmt.Errorf("save the list of team %s: %w", team, err)
	}
	return nil
}

func (db *DB) saveList(ctx context.Context, now time.Time, team string, listed []journal.ListedKey) error {
	byID := make(map[string]*journal.ListedKey, len(listed))
	for i := range listed {
		byID[listed[i].ID] = &listed[i]
	}
	var changes [][]any
	policies := make(map[string]bool)
	err := db.ask(ctx, func(ctx context.Context, t tx) error {
		changes = nil
		var k listing
		return t.query(ctx, func(scan func(...any) error) error {
			if err := scan(&k.id, &k.policy, &k.userID, instant{&k.expires}, flag{&k.off}, &k.grant); err != nil {
				return err
			}
			l := byID[k.id]
			if l == nil {
				return nil
			}
			is := k
			is.expires, is.off = time.UnixMicro(l.ExpiresAt.UnixMicro()).UTC(), l.Disabled
			if l.Grant != "" {
				is.grant = l.Grant
			}
			if l.ExpiresAt.IsZero() {
				is.expires = time.Time{}
			}
			if l.UserID != "" { // not every list says it
				is.userID = l.UserID
			}
			if is != k {
				off := int64(0)
				if is.off {
					off = 1
				}
				changes = append(changes, []any{is.id, is.userID, micros(is.expires), off, is.grant})
				policies[is.policy] = true
			}
			return nil
		}, listedKeys, team)
	})
	if err != nil || len(changes) == 0 {
		return err
	}
	names := slices.Sorted(maps.Keys(policies))
	return db.writeTo(ctx, func(ctx context.Context, t tx) error {
		at, err := db.clock(ctx, t, now)
		if err != nil {
			return err
		}
		// The policies' rows first, as in every transaction.
		if _, err := t.exec(ctx, `UPDATE policies SET `+woken(`$2`)+` WHERE name `+db.among(1),
			db.list(names), micros(at)); err != nil {
			return err
		}
		if err := db.updateAll(ctx, t, listKeys, changes, func(string) {}); err != nil {
			return err
		}
		return db.tell(ctx, t)
	}, names...)
}

var (
	listedKeys = `SELECT id, policy, user_id, expires_at, listed_off, listed FROM keys WHERE team = $1 AND id <> '' AND ` + notGone
	listKeys   = updates{
		table: "keys",
		names: []string{"id", "user_id", "expires_at", "listed_off", "listed"},
		kinds: []string{"TEXT", "TEXT", "BIGINT", "BIGINT", "TEXT"},
		set:   "user_id = v.column2, expires_at = v.column3, listed_off = v.column4, listed = v.column5",
		where: "id = v.column1 AND id <> ''",
	}
)

// effectsKept is how long closed effects are kept.
const effectsKept = 30 * 24 * time.Hour

// PruneEffects deletes effects that were closed more than 30 days ago.
func (db *DB) PruneEffects(ctx context.Context, now time.Time) error {
	err := db.say(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `DELETE FROM effects WHERE closed_at < `+db.at(1)+` - CAST($2 AS BIGINT)`, micros(now), effectsKept.Microseconds())
		return err
	})
	if err != nil {
		return fmt.Errorf("prune effects: %w", err)
	}
	return nil
}
