package plan

import (
	"slices"
	"strings"
	"time"

	"rotator/rotation/due"
	"rotator/rotation/grant"
	"rotator/rotation/journal"
)

// updates outlines how keys follow their policy: what is changed of the key in use, what waits, and what someone changed at xAI.
func (o *outline) updates() {
	if !o.Record.Policy.RemovedAt.IsZero() {
		return
	}
	_, frozen := due.Frozen(o.Freezes, o.Policy, due.Schedule, o.Now)
	for i := range o.Record.Keys {
		k := &o.Record.Keys[i]
		have, known := o.Have[k.ID]
		if !known {
			have, known = grant.Read(k.Listed)
		}
		if !known || !grant.Follows(k) {
			continue
		}
		v := grant.Compare(o.Policy, k, grant.Facts{Have: have, Frozen: frozen, Now: o.Now,
			ExpiryAlone: grant.ExpiryAlone(k, o.Policy, &o.Record.Policy)})
		for _, c := range v.Changes {
			o.add(o.update(k, c))
		}
		for _, text := range v.Drift {
			o.add(Row{Action: Warning, KeyID: k.ID, Detail: "someone changed it at xAI: " + text + "; key.enforce: true sets it right"})
		}
		if len(v.Waiting) > 0 {
			o.add(Row{Action: Update, At: due.Thawed(o.Freezes, o.Policy, due.Schedule, o.Now), KeyID: k.ID, Detail: "after the freeze its consumers are refused " + strings.Join(v.Waiting, ", ")})
		}
		if len(v.Later) > 0 && k.State != journal.RetiringKey {
			o.add(Row{Action: Wait, KeyID: k.ID, Detail: "keeps " + strings.Join(v.Later, ", ") + " until the next rotation; allow_narrowing: true takes them away at once"})
		}
	}
}

// update is one change of a key.
func (o *outline) update(k *journal.Key, c grant.Change) Row {
	r := Row{Action: Update, At: o.Now, KeyID: k.ID, Detail: c.Detail}
	if len(c.Loses) > 0 {
		r.Detail += "; its consumers are refused " + strings.Join(c.Loses, ", ")
	}
	switch h := o.Record.Hold; {
	case slices.Contains(strings.Fields(k.Refused), string(c.Part)):
		r.Action, r.At = Wait, time.Time{}
		r.Detail += "; xAI refused it: it comes with the next rotation"
	case h.Stops(o.Now) && !c.Needed:
		r.At = h.Until
		r.Detail += "; once it is released"
	}
	return r
}
