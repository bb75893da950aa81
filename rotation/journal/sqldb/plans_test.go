package sqldb

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"rotator/rotation/journal"
)

// TestHotStatementsUseIndexes keeps what runs for every step from reading whole tables.
func TestHotStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	db := open(t, "sqlite::memory:")
	for _, query := range append([]string{
		dueInFile(moving), dueInFile(resting), takeInFile, addKey, reopenKey,
		effects.insert, addTarget, addSighting, removeSighting, listedKeys, listKeys.text(1),
		changeKeys.text(1), changeOwnKeys.text(1), seeTargets.text(1),
		`SELECT 1` + nextOf(moving) + nextOf(resting), db.loading("= $1"),
		`SELECT 1 FROM sightings ` + ofKey, `SELECT 1 FROM sightings ` + unidentified, `SELECT 1 FROM keys WHERE ` + notGone + ` AND policy = $1`,
		`SELECT 1 FROM targets ` + atPlace, `SELECT 1 FROM keys WHERE id = $1 AND id <> ''`, `SELECT 1 FROM keys WHERE name = $1`, `SELECT 1 FROM effects WHERE key_ref = $1 AND closed_at IS NULL`, `DELETE FROM effects WHERE closed_at < $1`,
		`SELECT 1 FROM rotations ORDER BY started_at DESC, id DESC LIMIT $1`,
	}, ownedStatements(t)...) {
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

// ownedStatements are those that write the rows of a record, each with every column that it may have.
func ownedStatements(t *testing.T) []string {
	t.Helper()
	whole, args := ownedUpdate(journal.Claim{}, &change[journal.Policy]{doubted: true}, true, past, &chain{events: make([]journal.Chained, 1)})
	if n := len(ownedPolicies.names) + 4; len(args) != n {
		t.Errorf("%d values of a policy, want %d", len(args), n)
	}
	rotation := change[journal.Rotation]{doubted: true}
	rotation.now.State = journal.Live
	key := change[journal.Key]{doubted: true}
	key.now.State = journal.LiveKey
	all := []string{whole}
	for _, s := range []struct {
		query string
		err   error
	}{
		statementOf(rotationWriter, &rotation), statementOf(keyWriter, &key),
		statementOf(effectWriter, &change[journal.Effect]{doubted: true}), statementOf(targetWriter, &change[journal.Target]{doubted: true}),
	} {
		if s.err != nil {
			t.Error(s.err)
		}
		all = append(all, s.query)
	}
	return all
}

func statementOf[T any](w rowWriter[T], c *change[T]) (s struct {
	query string
	err   error
}) {
	s.query, _, s.err = w.statement("", c)
	return s
}

// TestOnlyChangedColumnsAreWritten: a statement names the columns that changed, and the state that the row is in.
func TestOnlyChangedColumnsAreWritten(t *testing.T) {
	t.Parallel()
	c := change[journal.Key]{was: journal.Key{Ref: "r", Policy: "p", Name: "n", State: journal.RetiringKey, ExpiresAt: past}}
	c.now = c.was
	c.now.Tries, c.now.Reason = 2, "backoff"
	query, args, err := keyWriter.statement("p", &c)
	if want := "UPDATE keys SET tries = $3, reason = $4 WHERE ref = $1 AND policy = $2 AND state = $5"; query != want || err != nil {
		t.Errorf("%s, %v, want %s", query, err, want)
	}
	if want := []any{"r", "p", int64(2), "backoff", "retiring"}; !reflect.DeepEqual(args, want) {
		t.Errorf("values %v, want %v", args, want)
	}
	c.now.State = journal.DisabledKey
	if query, _, err = keyWriter.statement("p", &c); err != nil || !strings.HasSuffix(query, " AND state IN ('live', 'retiring', 'disabled')") {
		t.Errorf("%s, %v", query, err)
	}
	c.doubted = true // the lists' columns are not the owner's to write
	if query, _, err = keyWriter.statement("p", &c); err != nil || strings.Contains(query, "expires_at") || !strings.Contains(query, "health = ") {
		t.Errorf("%s, %v", query, err)
	}
	c.now.Name = "other"
	if _, _, err = keyWriter.statement("p", &c); !errors.Is(err, errNoRow) {
		t.Errorf("another name: %v", err)
	}
	if _, _, err = keyWriter.statement("q", &c); !errors.Is(err, journal.ErrForbidden) {
		t.Errorf("another policy: %v", err)
	}
}
