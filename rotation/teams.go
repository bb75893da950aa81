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
	"rotator/rotation/reason"
	"rotator/xai"
)

// Chores begins to look, in lists, at every team whose turn it is, over all replicas: one whose xAI hangs keeps no other
// waiting.
func (e *Engine) Chores(ctx context.Context, lists *errgroup.Group) {
	w := e.environment()
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

// inventory lists a team's keys, matches them against the names of all keys ever made, and reports those that are nobody's.
// It deletes nothing: a key that counts as gone is given back to its policy. What xAI does not answer stays known
// as it was; it is given up when the team's next turn comes.
func (e *Engine) inventory(ctx context.Context, w Environment, name string) error {
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
	if reason.Of(err) == reason.ManagementKey && known.Error != before { // it may be long until a rotation is due, and finds out
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

func (e *Engine) take(ctx context.Context, w Environment, known *journal.Team) error {
	first := known.ValidatedAt.IsZero()
	team, err := w.Team(ctx, known.Name)
	if err != nil {
		return err
	}
	known.ID = team.ID
	mk, err := team.About.Validate(ctx)
	untold := notOffered(err) // then a list of the team's keys shows that the management key speaks for it
	switch {
	case err == nil:
		known.Scope, known.ManagementKeyID, known.ValidatedAt = mk.Scope, mk.ID, e.now()
		err = e.noteManagementKey(ctx, known.Name, mk.ID)
	case untold:
		err = nil
	}
	if err != nil {
		return err
	}
	if first && !untold { // a long list is not worth waiting for: the team is known to be ours
		if err := e.journal.SaveTeam(ctx, *known); err != nil {
			return err
		}
	}
	list, found, err := e.inventoryOf(ctx, team)
	if err != nil {
		return err
	}
	if err := e.tellNotOffered(ctx, known.Name, team.About); err != nil {
		return err
	}
	listed := e.now()
	if untold {
		known.Scope, known.ManagementKeyID, known.ValidatedAt = "", "", listed
	}
	listedKeys := make([]journal.ListedKey, len(list.Keys))
	for i := range list.Keys {
		listedKeys[i] = listedKey(list.Keys[i])
	}
	if err := e.journal.SaveList(ctx, e.now(), known.Name, listedKeys); err != nil {
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
			errs = append(errs, e.journal.Reopen(ctx, e.now(), k.Ref, listedKey(k.Key)))
		}
	}
	return errors.Join(append(errs, e.tellOrphans(ctx, known.Name, orphans))...)
}

// inventoryOf lists a team's keys and says what each is. A key that is listed and counts as gone may have been deleted
// while the list was on its way, and clocks of replicas cannot tell. So the team is listed again before such a key is
// believed to be there.
func (e *Engine) inventoryOf(ctx context.Context, team Team) (list xai.KeyList, found []ListedKey, err error) {
	for range 2 {
		if list, err = team.Keys.ListKeys(ctx, team.ID); err != nil {
			return list, nil, err
		}
		if found, err = e.Inventory(ctx, list); err != nil {
			return list, nil, err
		}
		if !slices.ContainsFunc(found, func(k ListedKey) bool { return k.Reopen }) {
			break
		}
	}
	return list, found, nil
}

func listedKey(k xai.Key) journal.ListedKey {
	return journal.ListedKey{ID: k.ID, Name: k.Name, UserID: k.UserID, Disabled: k.Disabled, ExpiresAt: believed(k.Expires, k.Created)}
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

// tellNotOffered logs which calls xAI does not offer to a team, once for each. The journal keeps those that any replica met,
// until one meets none.
func (e *Engine) tellNotOffered(ctx context.Context, team string, about TeamAPI) error {
	api, ok := about.(interface{ NotOffered() []string })
	if !ok {
		return nil
	}
	met := api.NotOffered()
	meta := "not_offered/" + team
	told, err := e.journal.Meta(ctx, meta)
	if err != nil {
		return err
	}
	if told != "" && len(met) > 0 {
		met = append(met, strings.Split(told, ", ")...)
	}
	slices.Sort(met)
	calls := strings.Join(slices.Compact(met), ", ")
	if calls == told {
		return nil
	}
	if calls != "" {
		e.log.Warn("calls not offered by xAI; doing without", "team", team, "calls", calls)
	}
	return e.journal.SetMeta(ctx, meta, calls)
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
	Key    xai.Key
	Kind   KeyKind
	Policy string
	Ref    string
	Reopen bool // the journal counts it as gone, and yet xAI lists it
}

// Inventory says of each key in a list what it is.
func (e *Engine) Inventory(ctx context.Context, list xai.KeyList) ([]ListedKey, error) {
	ids, names := make([]string, len(list.Keys)), make([]string, len(list.Keys))
	for i, k := range list.Keys {
		ids[i], names[i] = k.ID, k.Name
	}
	// Names first: whatever id one of them has then stands among the keys that are read afterwards.
	named, err := e.journal.KeysByName(ctx, names)
	if err != nil {
		return nil, err
	}
	known, err := e.journal.Keys(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]journal.Key, len(known))
	for _, k := range known {
		byID[k.ID] = k
	}
	open, err := e.open(ctx, named)
	if err != nil {
		return nil, err
	}
	out := make([]ListedKey, 0, len(list.Keys))
	for _, k := range list.Keys {
		out = append(out, e.classify(k, byID, open))
	}
	return out, nil
}

// open returns, by name, the keys whose id is not known and that a listed key may be: there is a policy whose turn looks
// for them.
func (e *Engine) open(ctx context.Context, named []journal.Key) (map[string]journal.Key, error) {
	open := make(map[string]journal.Key)
	var of []string
	for _, k := range named {
		if k.ID == "" {
			open[k.Name] = k
			of = append(of, k.Policy)
		}
	}
	if len(of) == 0 {
		return open, nil
	}
	there, err := e.journal.Summaries(ctx, of...)
	maps.DeleteFunc(open, func(_ string, k journal.Key) bool {
		return !slices.ContainsFunc(there, func(s journal.Summary) bool { return s.Policy.Name == k.Policy })
	})
	return open, err
}

func (e *Engine) classify(k xai.Key, byID, open map[string]journal.Key) ListedKey {
	l := ListedKey{Key: k, Kind: KindUnmanaged}
	if ours, ok := byID[k.ID]; ok && ours.State != journal.ForgottenKey {
		l.Policy, l.Ref = ours.Policy, ours.Ref
		switch ours.State {
		case journal.DeletedKey:
			if e.now().Sub(ours.DeletedAt) > e.limits.Quarantine { // xAI said that it was gone
				l.Kind, l.Reopen = KindOrphan, true
			} else {
				l.Kind = KindInDoubt
			}
		case journal.RetiringKey, journal.DisabledKey:
			l.Kind = KindPredecessor
		case journal.RejectedKey, journal.DeletingKey:
			l.Kind = KindInDoubt
		default:
			l.Kind = KindManaged
		}
		return l
	}
	if one, ok := open[k.Name]; ok {
		l.Kind, l.Policy, l.Ref = KindInDoubt, one.Policy, one.Ref
		l.Reopen = one.State == journal.AbsentKey
		return l
	}
	if strings.HasPrefix(k.Name, KeyPrefix) {
		l.Kind = KindOrphan
	}
	return l
}
