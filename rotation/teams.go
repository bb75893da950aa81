package rotation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

// choresPace is the pause between two looks at whether a team's chores are due.
const choresPace = 30 * time.Second

// runChores does the chores when they are due, until ctx ends.
func (e *Engine) runChores(ctx context.Context) {
	tick := time.NewTicker(choresPace)
	defer tick.Stop()
	for {
		e.dropLost(ctx)
		e.chores(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// chores looks at every team whose turn it is, over all replicas.
func (e *Engine) chores(ctx context.Context) {
	if err := e.journal.Hasten(ctx, e.now()); err != nil && ctx.Err() == nil {
		e.log.Warn("policies that a clock set back put off could not be made due", "err", err)
	}
	w := e.theWorld()
	for _, name := range w.Teams() {
		mine, err := e.journal.Chore(ctx, e.now(), "team/"+name, e.limits.Watch)
		if err != nil || !mine {
			continue
		}
		if err := e.inventory(ctx, w, name); err != nil && ctx.Err() == nil {
			e.log.Warn("team could not be looked at", "team", name, "err", err)
		}
	}
}

// inventory lists a team's keys, matches them against the names of all attempts ever made, and reports what is nobody's.
// It deletes nothing: a key of a settled attempt is given back to its policy's sweep.
func (e *Engine) inventory(ctx context.Context, w World, name string) error {
	known := journal.Team{Name: name}
	err := e.take(ctx, w, &known)
	if err != nil {
		known.Error = err.Error()
	}
	if saved := e.journal.SaveTeam(ctx, known); saved != nil {
		return saved
	}
	return err
}

func (e *Engine) take(ctx context.Context, w World, known *journal.Team) error {
	team, err := w.Team(ctx, known.Name)
	if err != nil {
		return err
	}
	known.ID = team.ID
	mk, err := team.About.Validate(ctx)
	if err != nil {
		return err
	}
	known.Scope, known.ManagementKeyID, known.ValidatedAt = mk.Scope, mk.ID, e.now()
	if err := e.noteManagementKey(ctx, known.Name, mk.ID); err != nil {
		return err
	}
	if known.ListedAt.IsZero() { // a long list is not worth waiting for: the team is known to be ours
		if err := e.journal.SaveTeam(ctx, *known); err != nil {
			return err
		}
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	known.ListedAt = e.now()
	found, err := e.Inventory(ctx, known.Name, list)
	if err != nil {
		return err
	}
	var orphans []string
	for _, k := range found {
		switch k.Kind {
		case KindManaged, KindPredecessor, KindInDoubt:
			known.Managed++
		case KindUnmanaged:
			known.Unmanaged++
		case KindOrphan:
			known.Orphans++
			orphans = append(orphans, k.Key.ID)
		}
		if k.Reopen {
			if err := e.journal.ReopenAttempt(ctx, e.now(), k.Attempt); err != nil {
				return err
			}
		}
	}
	return e.tellOrphans(ctx, known.Name, orphans)
}

// noteManagementKey notes since when a team's management key is in use: the only age that can be known of it.
func (e *Engine) noteManagementKey(ctx context.Context, team, id string) error {
	meta := journal.MetaManagementKey + team
	was, err := e.journal.Meta(ctx, meta)
	if before, _, _ := strings.Cut(was, " "); err != nil || before == id {
		return err
	}
	return e.journal.SetMeta(ctx, meta, id+" "+e.now().UTC().Format(time.RFC3339))
}

// tellOrphans sends news of orphans once for each set of them.
func (e *Engine) tellOrphans(ctx context.Context, team string, ids []string) error {
	slices.Sort(ids)
	now := strings.Join(ids, " ")
	meta := "orphans/" + team
	told, err := e.journal.Meta(ctx, meta)
	if err != nil || told == now {
		return err
	}
	if len(ids) > 0 {
		err = e.journal.Record(ctx, journal.Event{At: e.now(), Kind: journal.OrphansSeen,
			Data: map[string]string{"team": team, "count": fmt.Sprint(len(ids)), "key_ids": now}})
	}
	if err != nil {
		return err
	}
	return e.journal.SetMeta(ctx, meta, now)
}

// KeyKind says what a key of a team is to the rotator.
type KeyKind string

// The kinds of keys.
const (
	KindManaged     KeyKind = "managed"     // in use, or about to be
	KindPredecessor KeyKind = "predecessor" // to be retired
	KindInDoubt     KeyKind = "in_doubt"    // of an attempt that is not settled: will be deleted
	KindOrphan      KeyKind = "orphan"      // bears our prefix, and no intent names it, or should be gone: reported, never deleted
	KindUnmanaged   KeyKind = "unmanaged"   // somebody else's
)

// ListedKey is a key of a team with what the journal knows of it.
type ListedKey struct {
	Key     xai.Key
	Kind    KeyKind
	Policy  string
	Attempt string
	Reopen  bool // its attempt counts as settled, and yet xAI lists the key
}

// Inventory says of each key in a list what it is.
func (e *Engine) Inventory(ctx context.Context, team string, list xai.KeyList) ([]ListedKey, error) {
	keys, err := e.journal.Keys(ctx, team)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]journal.Key, len(keys))
	for _, k := range keys {
		byID[k.ID] = k
	}
	attempts, err := e.journal.Attempts(ctx, team)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]journal.Attempt, len(attempts))
	for _, a := range attempts {
		byName[a.Name] = a
	}
	out := make([]ListedKey, 0, len(list.Keys))
	for _, k := range list.Keys {
		out = append(out, e.classify(k, byID, byName))
	}
	return out, nil
}

func (e *Engine) classify(k xai.Key, byID map[string]journal.Key, byName map[string]journal.Attempt) ListedKey {
	l := ListedKey{Key: k, Kind: KindUnmanaged}
	if ours, ok := byID[k.ID]; ok {
		l.Policy, l.Attempt = ours.Policy, ours.Attempt
		switch {
		case !ours.DeletedAt.IsZero() && e.now().Sub(ours.DeletedAt) > e.limits.Quarantine:
			l.Kind = KindOrphan // xAI said that it was gone
		case ours.Use == journal.UsePredecessor:
			l.Kind = KindPredecessor
		case ours.Use == journal.UseRejected:
			l.Kind = KindInDoubt
		default:
			l.Kind = KindManaged
		}
		return l
	}
	if a, ok := byName[k.Name]; ok {
		l.Kind, l.Policy, l.Attempt = KindInDoubt, a.Policy, a.ID
		l.Reopen = a.State == journal.Settled && a.KeyID == ""
		return l
	}
	if strings.HasPrefix(k.Name, KeyPrefix) {
		l.Kind = KindOrphan
	}
	return l
}
