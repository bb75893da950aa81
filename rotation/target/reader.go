package target

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
)

// The times after which the absence of a value is believed.
const (
	Lag        = 2 * time.Minute // after our own write, another value is not known to be one
	absentFor  = time.Minute     // between two reads that both show another value
	EmptyFor   = 24 * time.Hour  // between two reads that both show nothing
	partLength = 20              // key characters after "xai-" from which on a part of a value is taken for a key
)

// Reader reads the targets of one policy and writes what it saw into the policy's record.
type Reader struct {
	Record *journal.Record
	// Store returns a handle's store.
	Store func(name string) (stores.Store, bool)
	// Identify returns the id of the key that a value is. "": it is none that xAI accepts. Only values that look like a key
	// are given to it.
	Identify func(ctx context.Context, v secret.Text) (string, error)
	Now      func() time.Time
	Limit    time.Duration
	// Slow watches a call to a store that takes long, until done is called.
	Slow func(store string) (done func())
}

// Handle finds a target's store.
func (r *Reader) Handle(pt policies.Target) (Handle, error) {
	st, ok := r.Store(pt.Store)
	if !ok {
		return Handle{}, reason.Errorf(reason.ConfigMissing, "store %s is not configured", pt.Store)
	}
	return NewHandle(pt, st, r.Limit, func() func() { return r.Slow(pt.Store) }), nil
}

// HandleOf is Handle for a target that is known by its name alone.
func (r *Reader) HandleOf(id journal.TargetID) (Handle, error) {
	return r.Handle(policies.Target{Store: id.Store, Path: id.Path, Field: id.Field})
}

// Row is the target's row, made when it is not there. The pointer is good until the next row is made.
func (r *Reader) Row(id journal.TargetID) *journal.Target {
	i := slices.IndexFunc(r.Record.Targets, func(t journal.Target) bool { return t.TargetID == id })
	if i < 0 {
		r.Record.Targets = append(r.Record.Targets, journal.Target{TargetID: id, Policy: r.Record.Policy.Name})
		i = len(r.Record.Targets) - 1
	}
	return &r.Record.Targets[i]
}

// Read reads what consumers read now, and notes it. The empty text is nothing. stores.ErrStale: the store answers with what
// was there before our own last write; then nothing is noted.
func (r *Reader) Read(ctx context.Context, h Handle) (secret.Text, error) {
	v, err := h.CurrentOrNothing(ctx)
	if err == nil && r.lags(h.ID, v) {
		err = fmt.Errorf("read %s: %w", h.ID, stores.ErrStale)
	}
	if err != nil {
		row := r.Row(h.ID)
		row.Error = err.Error()
		if !errors.Is(err, stores.ErrStale) {
			row.Status = journal.TargetUnreadable
		}
		return v, err
	}
	fingerprint := string(v.Fingerprint())
	row := r.Row(h.ID)
	// A key that could not be identified yet may only not have reached the cluster that was asked.
	if row.SeenAt.IsZero() || row.Fingerprint != fingerprint || row.KeyID == "" && LooksLikeKey(v) {
		id, err := r.identify(ctx, v)
		if err != nil {
			return v, fmt.Errorf("ask which key %s holds: %w", h.ID, err)
		}
		row = r.Row(h.ID)
		row.KeyID, row.Fingerprint = id, fingerprint
	}
	r.note(row, v)
	return v, nil
}

// lags reports that a value may only be what was there before our own last write.
func (r *Reader) lags(id journal.TargetID, v secret.Text) bool {
	var last journal.Effect
	for _, e := range r.Record.Effects {
		if e.Kind == journal.EffectPromote && e.Target == id && e.State == journal.EffectDone && e.AckAt.After(last.AckAt) {
			last = e
		}
	}
	if last.ID == "" || r.Now().Sub(last.AckAt).Abs() >= Lag {
		return false
	}
	k := r.Record.Key(last.Key)
	return k != nil && k.Fingerprint != "" && !Is(v, k.Fingerprint) && !r.wroteAfter(last, v)
}

// wroteAfter reports that a value is one that we wrote later without an answer: a process that died or lost its claim did.
func (r *Reader) wroteAfter(last journal.Effect, v secret.Text) bool {
	return slices.ContainsFunc(r.Record.Effects, func(e journal.Effect) bool {
		if e.Kind != journal.EffectPromote || e.Target != last.Target || !e.At.After(last.At) || e.State == journal.EffectRefused || e.State == journal.EffectWithdrawn {
			return false
		}
		k := r.Record.Key(e.Key)
		return k != nil && k.Fingerprint != "" && Is(v, k.Fingerprint)
	})
}

// identify returns the id of the key that a value is: from the journal by its fingerprint, else from xAI.
func (r *Reader) identify(ctx context.Context, v secret.Text) (string, error) {
	if v.Empty() {
		return "", nil
	}
	for i := range r.Record.Keys {
		if k := &r.Record.Keys[i]; Is(v, k.Fingerprint) {
			return k.ID, nil
		}
	}
	if !LooksLikeKey(v) {
		return "", nil
	}
	return r.Identify(ctx, v)
}

// note writes what was read into the target's row and its sightings. Rows change only when something changed, apart from
// the time of the read.
func (r *Reader) note(row *journal.Target, v secret.Text) {
	now := r.Now()
	row.SeenAt, row.Error = now, ""
	if v.Empty() {
		if row.EmptyFrom.IsZero() {
			row.EmptyFrom = now
		}
		row.EmptyAt = now
		if now.Sub(row.EmptyFrom) >= EmptyFor {
			r.forgetSightings(func(s journal.Sighting) bool { return s.TargetID == row.TargetID })
		}
		return
	}
	row.EmptyFrom, row.EmptyAt = time.Time{}, time.Time{}
	seen := Prints(v)
	for i := range r.Record.Sightings {
		s := &r.Record.Sightings[i]
		if s.TargetID != row.TargetID {
			continue
		}
		if at := slices.Index(seen, s.Fingerprint); at >= 0 {
			seen = slices.Delete(seen, at, at+1)
			s.AbsentSince = time.Time{}
			if s.Fingerprint == row.Fingerprint && row.KeyID != "" {
				s.KeyID = row.KeyID
			}
		} else if s.AbsentSince.IsZero() {
			s.AbsentSince = now
		}
	}
	for _, fingerprint := range seen {
		s := journal.Sighting{TargetID: row.TargetID, Policy: row.Policy, Fingerprint: fingerprint, FirstSeen: now}
		if fingerprint == row.Fingerprint {
			s.KeyID = row.KeyID
		} else if k := r.keyOf(fingerprint); k != nil {
			s.KeyID = k.ID
		}
		r.Record.Sightings = append(r.Record.Sightings, s)
	}
	r.forgetSightings(func(s journal.Sighting) bool {
		return s.TargetID == row.TargetID && !s.AbsentSince.IsZero() && (now.Sub(s.AbsentSince) >= absentFor || r.replaced(s))
	})
}

// replaced reports that what a sighting speaks of was replaced by our own write, which was read back: by a read that
// found another value.
func (r *Reader) replaced(s journal.Sighting) bool {
	return slices.ContainsFunc(r.Record.Effects, func(e journal.Effect) bool {
		return e.Kind == journal.EffectPromote && e.Target == s.TargetID && e.State == journal.EffectDone &&
			e.AckAt.After(s.FirstSeen) && !s.AbsentSince.Before(e.AckAt)
	})
}

func (r *Reader) forgetSightings(which func(journal.Sighting) bool) {
	r.Record.Sightings = slices.DeleteFunc(r.Record.Sightings, which)
}

func (r *Reader) keyOf(fingerprint string) *journal.Key {
	for i := range r.Record.Keys {
		if fingerprint != "" && r.Record.Keys[i].Fingerprint == fingerprint {
			return &r.Record.Keys[i]
		}
	}
	return nil
}

// Wrote notes that a target holds a key that we wrote there and read back.
func (r *Reader) Wrote(id journal.TargetID, k *journal.Key, v secret.Text) {
	row := r.Row(id)
	row.KeyID, row.Fingerprint, row.Replaceable = k.ID, k.Fingerprint, k.Fingerprint
	row.Status, row.Decision, row.DecidedFor = journal.TargetOK, journal.Undecided, ""
	if row.ContactAt.IsZero() {
		row.ContactAt = r.Now()
	}
	r.note(row, v)
}

// LooksLikeKey reports whether a value has the form of an API key, perhaps with a line end that a file brought along.
// Nothing else that is found in a target is ever sent anywhere: a password, or a management key, must not leave this machine.
func LooksLikeKey(v secret.Text) bool {
	s := v.Trimmed().Reveal()
	return strings.HasPrefix(s, "xai-") && !strings.HasPrefix(s, "xai-token-") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

var part = regexp.MustCompile(fmt.Sprintf(`xai-[A-Za-z0-9_-]{%d,}`, partLength))

// Prints returns the fingerprints of a value: of the whole, without the white space around it, and of every part that has
// the form of an API key, such as one line of a dotenv file.
func Prints(v secret.Text) []string {
	prints := []string{string(v.Fingerprint())}
	add := func(t secret.Text) {
		if p := string(t.Fingerprint()); !slices.Contains(prints, p) {
			prints = append(prints, p)
		}
	}
	add(v.Trimmed())
	for _, s := range part.FindAllString(v.Reveal(), -1) {
		if !strings.HasPrefix(s, "xai-token-") {
			add(secret.New(s))
		}
	}
	return prints
}

// Is reports whether a value is the key of that fingerprint, perhaps with white space around it: a consumer that reads it there may
// well trim it.
func Is(v secret.Text, fingerprint string) bool {
	p := secret.Fingerprint(fingerprint)
	return fingerprint != "" && (p.Is(v) || p.Is(v.Trimmed()))
}

// Holds reports whether a value holds the key of that fingerprint, as a whole or as a part.
func Holds(v secret.Text, fingerprint string) bool {
	return fingerprint != "" && slices.Contains(Prints(v), fingerprint)
}
