// Package inventory lists a team's keys at xAI, and says what each of them is to the rotator. It reports keys that nothing
// will delete, and gives keys that count as gone and are listed anyway back to their policies. It deletes nothing.
//
// inventory.go looks at teams, each once in a while, over all replicas; kind.go says what a listed key is; rights.go looks for rights
// that policies name and xAI does not offer, and hygiene.go for keys that nothing uses or that may do everything.
package inventory

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"rotator/rotation/grant"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/xai"
)

// Book records what lists show. The methods are those of [journal.Journal].
type Book interface {
	Teams(ctx context.Context) ([]journal.Team, error)
	SaveTeam(ctx context.Context, t journal.Team) error
	SaveList(ctx context.Context, now time.Time, team string, keys []journal.ListedKey) error
	Reopen(ctx context.Context, now time.Time, ref string, listed journal.ListedKey) error
	Record(ctx context.Context, events ...journal.Event) error
}

// Notes keeps what was told, and shares the work among replicas. The methods are those of [journal.Journal].
type Notes interface {
	Chore(ctx context.Context, now time.Time, name string, every time.Duration) (bool, error)
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// Team is one team of xAI with the management key that speaks for it.
type Team struct {
	ID   string
	Keys interface {
		ListKeys(ctx context.Context, teamID string) (xai.KeyList, error)
	}
	About interface {
		Validate(ctx context.Context) (xai.ManagementKey, error)
		Usage(ctx context.Context, teamID string, q xai.UsageQuery) (xai.Usage, error)
		Offered(ctx context.Context, teamID string) (xai.Offered, error)
	}
}

// World is which teams there are.
type World interface {
	Teams() []string
	Team(ctx context.Context, name string) (Team, error)
}

// Options are what Lists are made of. All are needed.
type Options struct {
	Book  Book
	Names Names
	Notes Notes
	// World returns the teams that are configured now.
	World func() World
	// Rights returns what the policies of a team name in their ACLs, and which policies do: ACL → names. Nil: that is not looked at.
	Rights func(team string) map[string][]string
	// Every is between two looks at one team; Quarantine is how long a list may show a key that is gone.
	Every, Quarantine time.Duration
	Log               *slog.Logger
	Now               func() time.Time
}

// Lists looks at what teams' lists show. It is safe for concurrent use.
type Lists struct{ o Options }

// New makes Lists. They do nothing before Begin.
func New(o Options) *Lists { return &Lists{o} }

// Begin begins to look, in group, at every team whose turn it is, over all replicas: one whose xAI hangs keeps no other
// waiting.
func (l *Lists) Begin(ctx context.Context, group *errgroup.Group) {
	w := l.o.World()
	for _, name := range w.Teams() {
		group.Go(func() error {
			mine, err := l.o.Notes.Chore(ctx, l.o.Now(), "team/"+name, l.o.Every)
			if err != nil || !mine {
				return nil
			}
			if err := l.look(ctx, w, name); err != nil && ctx.Err() == nil {
				l.o.Log.Warn("team could not be looked at", "team", name, "err", err)
			}
			return nil
		})
	}
}

// look lists a team's keys, matches them against the names of all keys ever made, and reports those that are no one's.
// It deletes nothing: a key that counts as gone is given back to its policy. What xAI does not answer stays known
// as it was; it is given up when the team's next turn comes.
func (l *Lists) look(ctx context.Context, w World, name string) error {
	all, err := l.o.Book.Teams(ctx)
	if err != nil {
		return err
	}
	known := journal.Team{Name: name}
	if i := slices.IndexFunc(all, func(t journal.Team) bool { return t.Name == name }); i >= 0 {
		known = all[i]
	}
	within, enough := context.WithTimeout(ctx, l.o.Every)
	defer enough()
	before := known.Error
	known.Error = ""
	if err = l.take(within, w, &known); err != nil {
		known.Error = err.Error()
	}
	if reason.Of(err) == reason.ManagementKey && known.Error != before { // it may be long until a rotation is due, and finds out
		told := l.o.Book.Record(ctx, journal.Event{At: l.o.Now(), Kind: journal.TeamRefused, Data: map[string]string{"team": name, "error": known.Error}})
		if told != nil {
			return told
		}
	}
	if saved := l.o.Book.SaveTeam(ctx, known); saved != nil {
		return saved
	}
	return err
}

func (l *Lists) take(ctx context.Context, w World, known *journal.Team) error {
	first := known.ValidatedAt.IsZero()
	team, err := w.Team(ctx, known.Name)
	if err != nil {
		return err
	}
	known.ID = team.ID
	mk, err := team.About.Validate(ctx)
	untold := errors.Is(err, xai.ErrNotOffered) // then a list of the team's keys shows that the management key speaks for it
	switch {
	case err == nil:
		known.Scope, known.ManagementKeyID, known.ValidatedAt = mk.Scope, mk.ID, l.o.Now()
		err = l.noteManagementKey(ctx, known.Name, mk.ID)
	case untold:
		err = nil
	}
	if err != nil {
		return err
	}
	if first && !untold { // a long list is not worth waiting for: the team is known to be ours
		if err := l.o.Book.SaveTeam(ctx, *known); err != nil {
			return err
		}
	}
	list, err := team.Keys.ListKeys(ctx, team.ID)
	if err != nil {
		return err
	}
	found, err := l.Of(ctx, list)
	if err != nil {
		return err
	}
	if err := l.tellNotOffered(ctx, known.Name, team.About); err != nil {
		return err
	}
	listed := l.o.Now()
	if untold {
		known.Scope, known.ManagementKeyID, known.ValidatedAt = "", "", listed
	}
	listedKeys := make([]journal.ListedKey, len(list.Keys))
	for i := range list.Keys {
		listedKeys[i] = listedKey(found[i])
	}
	if err := l.o.Book.SaveList(ctx, l.o.Now(), known.Name, listedKeys); err != nil {
		return err
	}
	known.ListedAt, known.Managed, known.Unmanaged, known.Orphans = listed, 0, 0, 0
	var orphans []string
	var errs []error
	for _, k := range found {
		switch k.Kind {
		case Managed, Predecessor, InDoubt:
			known.Managed++
		case Unmanaged:
			known.Unmanaged++
		case Orphan:
			known.Orphans++
			orphans = append(orphans, k.Key.ID)
		}
		if k.Reopen {
			errs = append(errs, l.o.Book.Reopen(ctx, l.o.Now(), k.Ref, listedKey(k)))
		}
	}
	return errors.Join(append(errs,
		l.tell(ctx, journal.OrphansSeen, known.Name, "key_ids", orphans, nil),
		l.tell(ctx, journal.KeysWide, known.Name, "keys", wide(found), nil),
		l.lookForUnused(ctx, team, known.Name, mk, found),
		l.lookForRights(ctx, team, known.Name))...)
}

// listedKey is what the journal records of a key. What a stranger's key may do is no one's business, and takes time to write.
func listedKey(k Key) journal.ListedKey {
	listed := journal.ListedKey{ID: k.ID, Name: k.Name, UserID: k.UserID, Disabled: k.Disabled, ExpiresAt: k.Expiry()}
	if k.Kind != Unmanaged {
		listed.Grant = GrantOf(k.Key).String()
	}
	return listed
}

// GrantOf is what a key may do, as xAI shows it.
func GrantOf(k xai.Key) grant.Grant {
	return grant.Grant{Name: k.Name, ACLs: k.ACLs, QPS: k.QPS, QPM: k.QPM, TPM: k.TPM, Expires: k.Expiry(), Modified: k.Modified, Complete: true}
}

// noteManagementKey notes since when a team's management key is in use: the only age that can be known of it.
func (l *Lists) noteManagementKey(ctx context.Context, team, id string) error {
	meta := journal.MetaManagementKey + team
	was, err := l.o.Notes.Meta(ctx, meta)
	if before, _, _ := strings.Cut(was, " "); err != nil || before == id {
		return err
	}
	return l.o.Notes.SetMeta(ctx, meta, id+" "+l.o.Now().UTC().Format(time.RFC3339))
}

// tellNotOffered logs which calls xAI does not offer to a team, once for each. The journal keeps those that any replica met,
// until one meets none.
func (l *Lists) tellNotOffered(ctx context.Context, team string, about any) error {
	api, ok := about.(interface{ NotOffered() []string })
	if !ok {
		return nil
	}
	met := api.NotOffered()
	meta := "not_offered/" + team
	told, err := l.o.Notes.Meta(ctx, meta)
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
		l.o.Log.Warn("calls not offered by xAI; doing without", "team", team, "calls", calls)
	}
	return l.o.Notes.SetMeta(ctx, meta, calls)
}
