package inventory

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"rotator/rotation/journal"
	"rotator/xai"
)

// Prefix begins the name of every key that the rotator creates: "rotator-<policy>-<ref>".
const Prefix = "rotator-"

// Names finds keys that were ever recorded. The methods are those of [journal.Journal].
type Names interface {
	Keys(ctx context.Context, ids []string) ([]journal.Key, error)
	KeysByName(ctx context.Context, names []string) ([]journal.Key, error)
	Summaries(ctx context.Context, policies ...string) ([]journal.Summary, error)
}

// Kind says what a key of a team is to the rotator.
type Kind string

// The kinds of keys.
const (
	Managed     Kind = "managed"     // in use, or about to be
	Predecessor Kind = "predecessor" // to be retired
	InDoubt     Kind = "in_doubt"    // of an attempt that is not settled: will be deleted
	Orphan      Kind = "orphan"      // has our prefix, and nothing will delete it, or should be gone: reported, never deleted
	Unmanaged   Kind = "unmanaged"   // someone else's
)

// Key is a key of a team with what the journal knows of it.
type Key struct {
	xai.Key
	Kind   Kind
	Policy string
	Ref    string
	Reopen bool // the journal counts it as gone, and yet xAI lists it
}

// Of says of each key in a list what it is.
func (l *Lists) Of(ctx context.Context, list xai.KeyList) ([]Key, error) {
	ids, names := make([]string, len(list.Keys)), make([]string, len(list.Keys))
	for i, k := range list.Keys {
		ids[i], names[i] = k.ID, k.Name
	}
	// Names first: whatever id one of them has then is among the keys that are read afterwards.
	named, err := l.o.Names.KeysByName(ctx, names)
	if err != nil {
		return nil, err
	}
	known, err := l.o.Names.Keys(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]journal.Key, len(known))
	for _, k := range known {
		byID[k.ID] = k
	}
	open, err := l.open(ctx, named)
	if err != nil {
		return nil, err
	}
	out := make([]Key, 0, len(list.Keys))
	for _, k := range list.Keys {
		out = append(out, l.classify(k, list.Date, byID, open))
	}
	return out, nil
}

// open returns, by name, the keys whose id is not known and that a listed key may be: there is a policy whose turn looks
// for them.
func (l *Lists) open(ctx context.Context, named []journal.Key) (map[string]journal.Key, error) {
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
	there, err := l.o.Names.Summaries(ctx, of...)
	maps.DeleteFunc(open, func(_ string, k journal.Key) bool {
		return !slices.ContainsFunc(there, func(s journal.Summary) bool { return s.Policy.Name == k.Policy })
	})
	return open, err
}

// classify says what a key is that a list of a date shows. A list may have been asked for before the key was deleted, and lags
// behind. Replicas' clocks do not agree on how long ago that was, so xAI's own clock is asked: a list without a date, or one
// that is not much younger than the delete, shows nothing.
func (l *Lists) classify(listed xai.Key, date time.Time, byID, open map[string]journal.Key) Key {
	k := Key{Key: listed, Kind: Unmanaged}
	if ours, ok := byID[listed.ID]; ok && ours.State != journal.ForgottenKey {
		k.Policy, k.Ref = ours.Policy, ours.Ref
		switch ours.State {
		case journal.DeletedKey:
			if date.Sub(ours.DeletedAt) > l.o.Quarantine { // xAI said that it was gone
				k.Kind, k.Reopen = Orphan, true
			} else {
				k.Kind = InDoubt
			}
		case journal.RetiringKey, journal.DisabledKey:
			k.Kind = Predecessor
		case journal.RejectedKey, journal.DeletingKey:
			k.Kind = InDoubt
		default:
			k.Kind = Managed
		}
		return k
	}
	if one, ok := open[listed.Name]; ok {
		k.Kind, k.Policy, k.Ref = InDoubt, one.Policy, one.Ref
		k.Reopen = one.State == journal.AbsentKey
		return k
	}
	if strings.HasPrefix(listed.Name, Prefix) {
		k.Kind = Orphan
	}
	return k
}
