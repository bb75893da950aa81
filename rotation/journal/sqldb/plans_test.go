package sqldb

import (
	"context"
	"strings"
	"testing"
)

// TestHotStatementsUseIndexes keeps what runs for every step from reading whole tables.
func TestHotStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	for _, query := range []string{
		claimInFile(moving), claimInFile(resting), commitPolicy, commitAndRelease, moves["live"], addKey, keyMoves["live"], ownKeyMoves["live"], reopenKey,
		effects.insert, updateEffect, addTarget, updateTarget, addSighting, removeSighting, listedKeys, listKeys.text(1),
		changeKeys.text(1), changeOwnKeys.text(1), seeTargets.text(1),
		`SELECT 1` + nextOf(moving) + nextOf(resting), db.loading("= $1"),
		`SELECT 1 FROM sightings ` + ofKey, `SELECT 1 FROM sightings ` + unidentified, `SELECT 1 FROM keys WHERE ` + notGone + ` AND policy = $1`,
		`SELECT 1 FROM keys WHERE id = $1 AND id <> ''`, `SELECT 1 FROM keys WHERE name = $1`, `SELECT 1 FROM effects WHERE key_ref = $1 AND closed_at IS NULL`, `DELETE FROM effects WHERE closed_at < $1`,
		`SELECT 1 FROM rotations ORDER BY started_at DESC, id DESC LIMIT $1`,
	} {
		args := make([]any, strings.Count(query, "$")+5)
		err := db.read(t.Context(), func(ctx context.Context, q tx) error {
			return q.query(ctx, func(scan func(...any) error) error {
				var id, parent, unused int
				var step string
				if err := scan(&id, &parent, &unused, &step); err != nil {
					return err
				}
				if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "USING") && step != "SCAN CONSTANT ROW" && step != "SCAN v" {
					t.Errorf("%s: %s", step, query)
				}
				return nil
			}, "EXPLAIN QUERY PLAN "+query, args...)
		})
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	// However many are at rest, those that move are found at once, and the other way round.
	for which, index := range map[string]string{moving: "policies_moving", resting: "policies_resting"} {
		err := db.read(t.Context(), func(ctx context.Context, q tx) error {
			var unused int
			var step string
			if _, err := one(ctx, q, []any{&unused, &unused, &unused, &step},
				`EXPLAIN QUERY PLAN SELECT 1 FROM policies WHERE next_run_at <= $1 AND `+which+` ORDER BY next_run_at`, 1); err != nil {
				return err
			}
			if !strings.Contains(step, index) {
				t.Errorf("%s: %s", which, step)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
