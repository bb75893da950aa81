package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/journal"
	"rotator/xai"
)

// chores begins to look, in lists, at every team whose turn it is, over all replicas: one whose xAI hangs keeps no other
// waiting.
func (e *Engine) chores(ctx context.Context, lists *errgroup.Group) {
	w := e.theWorld()
	for _, name := range w.Teams() {
		lists.Go(func() error {
			mine, err := e.journal.Chore(ctx, e.now(), "team/"+name, e.limits.Watch)
			if err != nil || !mine {
				return nil
			}
			if err := e.inventory(ctx, w, name); err != nil && ctx.Err() == nil {
				e.log.Warn("team could not be looked at", "team", name, "err", err)
			}
			return nil
		})
	}
}

// inventory lists a team's keys, matches them against the names of all attempts ever made, and reports what is nobody's.
// It deletes nothing: a key of a settled attempt is given back to its policy's sweep. What xAI does not answer stays known
// as it was; it is given up when the team's next turn comes.
func (e *Engine) inventory(ctx context.Context, w World, name string) error {
	all, err := e.journal.Teams(ctx)
	if err != nil {
		return err
	}
	known := journal.Team{Name: name}
	if i := slices.IndexFunc(all, func(t journal.Team) bool { return t.Name == name }); i >= 0 {
		known = all[i]
	}
	within, enough := context.WithTimeout(ctx, e.limits.Watch)
	defer enough()
	before := known.Error
	known.Error = ""
	if err = e.take(within, w, &known); err != nil {
		known.Error = err.Error()
	}
	if reasonOf(err) == ManagementKey && known.Error != before { // it may be long until a rotation is due, and finds out
		told := e.journal.Record(ctx, journal.Event{At: e.now(), Kind: journal.TeamRefused, Data: map[string]string{"team": name, "error": known.Error}})
		if told != nil {
			return told
		}
	}
	if saved := e.journal.SaveTeam(ctx, known); saved != nil {
		return saved
	}
	return err
}

func (e *Engine) take(ctx context.Context, w World, known *journal.Team) error {
	first := known.ValidatedAt.IsZero()
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
	if first { // a long list is not worth waiting for: the team is known to be ours
		if err := e.journal.SaveTeam(ctx, *known); err != nil {
			return err
		}
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	listed := e.now()
	found, err := e.Inventory(ctx, list)
	if err != nil {
		return err
	}
	known.ListedAt, known.Managed, known.Unmanaged, known.Orphans = listed, 0, 0, 0
	var orphans []string
	var errs []error
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
			errs = append(errs, e.journal.ReopenAttempt(ctx, e.now(), k.Attempt))
		}
		if k.ExpiryChanged {
			errs = append(errs, e.journal.SetExpiry(ctx, e.now(), k.Key.ID, k.Key.Expires))
		}
	}
	return errors.Join(append(errs, e.tellOrphans(ctx, known.Name, orphans))...)
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
	KindOrphan      KeyKind = "orphan"      // bears our prefix, and nobody will delete it, or should be gone: reported, never deleted
	KindUnmanaged   KeyKind = "unmanaged"   // somebody else's
)

// ListedKey is a key of a team with what the journal knows of it.
type ListedKey struct {
	Key     xai.Key
	Kind    KeyKind
	Policy  string
	Attempt string
	Reopen  bool // its attempt counts as settled, and yet xAI lists the key
	// ExpiryChanged: the key expires at another time than the journal says. A list that shows no expiry changes nothing.
	ExpiryChanged bool
}

// Inventory says of each key in a list what it is.
func (e *Engine) Inventory(ctx context.Context, list xai.KeyList) ([]ListedKey, error) {
	ids, names := make([]string, len(list.Keys)), make([]string, len(list.Keys))
	for i, k := range list.Keys {
		ids[i], names[i] = k.ID, k.Name
	}
	// Attempts first: whatever id one of them bears then stands among the keys that are read afterwards.
	attempts, err := e.journal.Attempts(ctx, names)
	if err != nil {
		return nil, err
	}
	keys, err := e.journal.Keys(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]journal.Key, len(keys))
	for _, k := range keys {
		byID[k.ID] = k
	}
	open, err := e.open(ctx, attempts)
	if err != nil {
		return nil, err
	}
	out := make([]ListedKey, 0, len(list.Keys))
	for _, k := range list.Keys {
		out = append(out, e.classify(k, byID, open))
	}
	return out, nil
}

// open returns, by name, the attempts that a key which is not known may be of: no key is known of them, and there is a
// policy whose sweep looks for it.
func (e *Engine) open(ctx context.Context, attempts []journal.Attempt) (map[string]journal.Attempt, error) {
	open := make(map[string]journal.Attempt)
	var of []string
	for _, a := range attempts {
		if a.KeyID == "" {
			open[a.Name] = a
			of = append(of, a.Policy)
		}
	}
	if len(of) == 0 {
		return open, nil
	}
	there, err := e.journal.Summaries(ctx, of...)
	maps.DeleteFunc(open, func(_ string, a journal.Attempt) bool {
		return !slices.ContainsFunc(there, func(s journal.Summary) bool { return s.Policy.Name == a.Policy })
	})
	return open, err
}

func (e *Engine) classify(k xai.Key, byID map[string]journal.Key, open map[string]journal.Attempt) ListedKey {
	l := ListedKey{Key: k, Kind: KindUnmanaged}
	if ours, ok := byID[k.ID]; ok {
		l.Policy, l.Attempt = ours.Policy, ours.Attempt
		l.ExpiryChanged = ours.DeletedAt.IsZero() && k.Expires.After(ours.CreatedAt) && !k.Expires.Truncate(time.Microsecond).Equal(ours.ExpiresAt)
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
	if a, ok := open[k.Name]; ok {
		l.Kind, l.Policy, l.Attempt = KindInDoubt, a.Policy, a.ID
		l.Reopen = a.State == journal.Settled
		return l
	}
	if strings.HasPrefix(k.Name, KeyPrefix) {
		l.Kind = KindOrphan
	}
	return l
}
