package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

const (
	// UnusedAfter is how long nothing used a key that is reported as unused.
	UnusedAfter = 30 * 24 * time.Hour
	// mostAsked is how many keys of a team billing is asked about one by one, where it answers only a part for all.
	mostAsked = 100
)

// tell records an event about a set of a team's keys or rights, once for each set. data says more. The set is also what
// metrics tell: see [journal.MetaKeys].
func (l *Lists) tell(ctx context.Context, kind journal.Kind, team, of string, set []string, data map[string]string) error {
	slices.Sort(set)
	now := strings.Join(slices.Compact(set), " ")
	meta := journal.MetaKeys(kind, team)
	told, err := l.o.Notes.Meta(ctx, meta)
	if err != nil || told == now {
		return err
	}
	if len(set) > 0 {
		all := map[string]string{"team": team, "count": fmt.Sprint(len(set)), of: now}
		maps.Copy(all, data)
		err = l.o.Book.Record(ctx, journal.Event{At: l.o.Now(), Kind: kind, Data: all})
	}
	if err != nil {
		return err
	}
	return l.o.Notes.SetMeta(ctx, meta, now)
}

// wide names the keys that work and may use every model by every endpoint: those of a policy by its name, since each rotation has
// another key, and the others by their ids.
func wide(found []Key) (names []string) {
	for _, k := range found {
		switch {
		case !k.Wide() || k.Disabled:
		case k.Policy != "":
			names = append(names, "policy:"+k.Policy)
		default:
			names = append(names, k.Key.ID)
		}
	}
	return names
}

// lookForUnused asks billing once a day which of a team's keys nothing used. A management key that may not read billing is not
// asked with.
func (l *Lists) lookForUnused(ctx context.Context, team Team, name string, mk xai.ManagementKey, found []Key) error {
	if !mayReadBilling(mk) {
		return nil
	}
	mine, err := l.o.Notes.Chore(ctx, l.o.Now(), "unused/"+name, 24*time.Hour)
	if err != nil || !mine {
		return err
	}
	since := l.o.Now().Add(-UnusedAfter)
	var ask []string
	for _, k := range found {
		if !k.Disabled && k.Created.Before(since) && k.Kind != Predecessor && k.Kind != InDoubt {
			ask = append(ask, k.Key.ID)
		}
	}
	uses, err := l.Uses(ctx, team, ask, since)
	if err != nil { // not known today; nothing that works depends on it
		l.o.Log.Info("usage of keys not known", "team", name, "err", err)
		return nil
	}
	var unused []string
	for _, id := range ask {
		if u := uses[id]; u == None || u == NoneSeen {
			unused = append(unused, id)
		}
	}
	if err := l.tell(ctx, journal.KeysUnused, name, "key_ids", unused, nil); err != nil {
		return err
	}
	return l.o.Notes.SetMeta(ctx, journal.MetaUnusedAt+name, l.o.Now().UTC().Format(time.RFC3339))
}

// mayReadBilling reports whether the management key's ACLs name the right, or name nothing.
func mayReadBilling(mk xai.ManagementKey) bool {
	return len(mk.ACLs) == 0 || slices.ContainsFunc(mk.ACLs, func(a string) bool {
		return strings.HasSuffix(a, "*") || strings.HasSuffix(a, ":BillingRead")
	})
}

// Use is what billing says about one key's use since some time.
type Use string

// What billing can show. Only None says that the key is reported; nothing may be destroyed on the word of the others.
const (
	Used     Use = "used"
	None     Use = "none"      // the key is reported without use
	NoneSeen Use = "none_seen" // other keys of the team are reported with use, and this one is not
	Unknown  Use = "unknown"
)

// Uses asks billing what keys of a team were used since a time. It asks for all of them at once; when the answer is only a part,
// it asks for each, at most 100 of them. An error means that nothing is known.
func (l *Lists) Uses(ctx context.Context, team Team, ids []string, since time.Time) (map[string]Use, error) {
	uses := make(map[string]Use, len(ids))
	if len(ids) == 0 {
		return uses, nil
	}
	query := xai.UsageQuery{From: since, To: l.o.Now()}
	all, err := team.About.Usage(ctx, team.ID, query)
	if err != nil {
		return nil, err
	}
	_, others := all.LastUse()
	for i, id := range ids {
		answer := all
		if all.Limited && i < mostAsked {
			query.KeyID = id
			if answer, err = team.About.Usage(ctx, team.ID, query); err != nil {
				return nil, err
			}
		}
		used, known := answer.UsedSince(id, since)
		switch {
		case used:
			uses[id] = Used
		case known:
			uses[id] = None
		case others:
			uses[id] = NoneSeen
		default:
			uses[id] = Unknown
		}
	}
	return uses, nil
}
