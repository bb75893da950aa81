package grant

import (
	"fmt"
	"slices"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
)

// Part is what one update changes. Parts are sent one by one, so that one that xAI refuses keeps no other.
type Part string

// The parts, in the order in which they are sent.
const (
	Rights Part = "rights"
	Limits Part = "limits"
	Name   Part = "name"
	Expiry Part = "expiry"
)

// Facts are what a comparison needs besides a policy and a key.
type Facts struct {
	Have   Grant // what xAI shows
	Ours   bool  // an update of ours without an answer may explain what xAI shows
	Frozen bool  // nothing is taken from consumers now
	Now    time.Time
	// ExpiryAlone: nothing but an expiry that would come too early is changed, since the key is of another team than its policy
	// now, or its policy is decommissioned.
	ExpiryAlone bool
}

// Change is one part that is to be changed.
type Change struct {
	Part   Part
	To     Grant    // what the part is to be
	Limits []string // of the limits, those that change: qps, qpm, tpm
	Edited bool     // the policy says something else than before
	Moved  bool     // the expiry, since the key is still needed
	Needed bool     // consumers would soon lose the key without it: no hold keeps it
	Loses  []string // rights that consumers lose at once
	Detail string
}

// Verdict is what a comparison finds.
type Verdict struct {
	Changes []Change
	Drift   []string // what someone changed at xAI and is left as it is
	Later   []string // rights that the key keeps until the next rotation
	Waiting []string // rights that the key keeps until the end of a freeze
	Edited  []Part   // parts that an edit of the policy changed, and that xAI shows so already

	asked, next   policies.KeySpec // what was asked, and what is
	shown, expect Grant            // what xAI was to show, and is to
}

// Idle reports whether nothing is to be sent, recorded or reported.
func (v Verdict) Idle() bool { return len(v.Changes) == 0 && len(v.Drift) == 0 && len(v.Edited) == 0 }

// Follows reports whether a key in this state is updated: one that consumers read, or are about to.
func Follows(k *journal.Key) bool {
	switch k.State {
	case journal.CandidateKey, journal.StandbyKey, journal.PromotingKey, journal.LiveKey, journal.RetiringKey:
		return k.ID != "" && !k.Compromised()
	}
	return false
}

// ExpiryAlone reports whether of a key only its expiry is cared for: it is of a team that the policy left, or its policy is
// decommissioned.
func ExpiryAlone(k *journal.Key, p *policies.Policy, row *journal.Policy) bool {
	return k.Team != p.Team || row.Leaving()
}

// comparison is one, as it goes on.
type comparison struct {
	Facts
	p           *policies.Policy
	k           *journal.Key
	asked       policies.KeySpec
	expected    Grant
	unread, old bool // no consumer reads the key yet; another key is live
	v           Verdict
}

// Compare says how a key is to be changed to be as its policy wants it. Compared is what xAI shows.
//
// Edits of limits, and of rights that widen, are to be made at once. Rights that an edit takes away go at once with
// allow_narrowing or where no consumer reads the key yet; otherwise the next key lacks them. What someone changed at xAI is put
// right with key.enforce alone. An expiry is moved on while the key is still needed.
func Compare(p *policies.Policy, k *journal.Key, f Facts) Verdict {
	asked := AskedOf(k, p)
	c := comparison{Facts: f, p: p, k: k, asked: asked, expected: Expected(k, asked).Known(f.Have)}
	c.unread = k.State == journal.CandidateKey || k.State == journal.StandbyKey
	c.old = k.State == journal.RetiringKey
	c.v.asked, c.v.next = asked, p.Key
	c.v.shown, c.v.expect = c.expected, c.expected
	c.v.next.ACLs = asked.ACLs
	if !f.ExpiryAlone {
		c.rights()
		c.limits()
		c.name()
	}
	c.expiry()
	return c.v
}

// right reports whether what someone changed is to be set right.
func (c *comparison) right() bool { return c.p.Key.Enforce || c.Ours || c.unread }

// drift notes what someone changed; of a key that is to go it does not matter.
func (c *comparison) drift(format string, args ...any) {
	if !c.old {
		c.v.Drift = append(c.v.Drift, fmt.Sprintf(format, args...))
	}
}

func (c *comparison) rights() {
	want, have := c.p.Key.ACLs, c.Have.ACLs
	if len(have) == 0 { // not every list says it
		return
	}
	edited := !sameSet(want, c.asked.ACLs)
	added, removed := without(have, c.expected.ACLs), without(c.expected.ACLs, have)
	to := c.expected.ACLs // as it should be
	if edited {
		to = sorted(append(slices.Clone(want), without(c.expected.ACLs, c.asked.ACLs)...)) // an adopted key's others stay
		gone := slices.DeleteFunc(slices.Clone(c.expected.ACLs), func(acl string) bool {
			return slices.Contains(to, acl) || policies.Covers(to, acl)
		})
		switch {
		case len(gone) == 0 || c.unread:
		case !c.p.AllowNarrowing || c.old:
			to = sorted(append(slices.Clone(to), gone...))
			c.v.Later = gone
		case c.Frozen:
			to = sorted(append(slices.Clone(to), gone...))
			c.v.Waiting = gone
		}
		c.v.next.ACLs = sorted(slices.Concat(want, c.v.Later, c.v.Waiting))
		c.v.expect.ACLs = to
	}
	drifted := len(added) > 0 || len(removed) > 0
	kept := edited && sameSet(to, c.expected.ACLs) // all that the edit changes comes later
	send := slices.Clone(to)
	if drifted && !c.right() {
		switch {
		case edited && !kept:
			send = sorted(append(send, added...)) // what was added outside stays
			if len(added) > 0 {
				c.drift("rights: someone added %s", words(added))
			}
		default:
			send = have
			c.drift("rights: %s", changedText(added, removed))
		}
	}
	if drifted && c.p.Key.Enforce && c.Frozen && !c.Ours && !c.unread { // consumers may use what someone added
		stays := slices.DeleteFunc(without(have, send), func(acl string) bool { return !slices.Contains(added, acl) || policies.Covers(send, acl) })
		if len(stays) > 0 {
			send = sorted(append(send, stays...))
			c.v.Waiting = sorted(append(c.v.Waiting, stays...))
			c.drift("rights: someone added %s", words(stays))
		}
	}
	if sameSet(send, have) {
		if edited && !kept {
			c.v.Edited = append(c.v.Edited, Rights)
		}
		return
	}
	loses := slices.DeleteFunc(without(have, send), func(acl string) bool { return policies.Covers(send, acl) })
	if c.unread {
		loses = nil
	}
	c.v.Changes = append(c.v.Changes, Change{Part: Rights, To: Grant{ACLs: send}, Edited: edited && !kept, Loses: loses,
		Detail: "rights: " + changedText(without(send, have), without(have, send))})
}

func changedText(added, removed []string) string {
	switch {
	case len(removed) == 0:
		return words(added) + " added"
	case len(added) == 0:
		return words(removed) + " removed"
	}
	return words(added) + " added, " + words(removed) + " removed"
}

func (c *comparison) limits() {
	want, asked := limitsOf(c.p.Key.QPS, c.p.Key.QPM, c.p.Key.TPM), limitsOf(c.asked.QPS, c.asked.QPM, c.asked.TPM)
	have, expected := limitsOf(c.Have.QPS, c.Have.QPM, c.Have.TPM), limitsOf(c.expected.QPS, c.expected.QPM, c.expected.TPM)
	change := Change{Part: Limits, Detail: "limits:"}
	to, edited := slices.Clone(have), false
	for i := range want {
		d := expected[i]
		if want[i] != asked[i] {
			d, edited = want[i], true
		} else if have[i] != d && !c.right() {
			c.drift("limits: %s instead of %s", have[i], d)
			continue
		}
		if have[i] == d {
			continue
		}
		if want[i] != asked[i] {
			change.Edited = true
		}
		to[i] = d
		change.Limits = append(change.Limits, d.name)
		change.Detail += fmt.Sprintf(" %s instead of %s,", d, have[i])
	}
	if len(change.Limits) > 0 {
		change.Detail = change.Detail[:len(change.Detail)-1]
		change.To = Grant{QPS: to[0].number(), QPM: to[1].number(), TPM: to[2].text()}
		c.v.Changes = append(c.v.Changes, change)
	} else if edited {
		c.v.Edited = append(c.v.Edited, Limits)
	}
}

func (c *comparison) name() {
	want, have := c.k.ListedName(), c.Have.Name
	if want == "" || have == "" || want == have {
		return
	}
	if !c.right() {
		c.drift("name: %q instead of %q", have, want)
		return
	}
	c.v.Changes = append(c.v.Changes, Change{Part: Name, To: Grant{Name: want}, Detail: fmt.Sprintf("name: %q instead of %q", want, have)})
}

// expirySlack is by how much an expiry may differ from the one that is wanted: it is counted from the moment that it is set.
const expirySlack = time.Hour

func (c *comparison) expiry() {
	if c.k.Origin == journal.OfAdoption { // its own is respected
		return
	}
	after, have := c.p.Key.ExpiresAfter.Std(), c.Have.Expires
	alone := c.old || c.ExpiryAlone
	if alone && after == 0 { // it goes on as it was made
		after = c.asked.ExpiresAfter.Std()
		c.v.next.ExpiresAfter = c.asked.ExpiresAfter
	}
	soon := !have.IsZero() && !c.Now.Before(have.Add(-c.lead(after)))
	until := c.Now.Add(after).UTC().Truncate(time.Second)
	set := func(to time.Time, edited, moved bool) {
		text := "no expiry"
		if !to.IsZero() {
			text = "expiry " + to.Format(time.RFC3339)
		}
		c.v.Changes = append(c.v.Changes, Change{Part: Expiry, To: Grant{Expires: to}, Edited: edited, Moved: moved, Needed: soon, Detail: text})
	}
	near := func(t time.Time) bool {
		slack := min(expirySlack, after/20)
		return !t.IsZero() && t.Sub(until) < 5*time.Minute && until.Sub(t) <= slack
	}
	switch edited := after != c.asked.ExpiresAfter.Std(); {
	case alone: // only for as long as it is needed
		if after > 0 && soon {
			set(until, false, true)
		}
	case edited && after > 0 && near(have), edited && after == 0 && have.IsZero():
		c.v.Edited = append(c.v.Edited, Expiry)
	case edited && after > 0:
		set(until, true, false)
	case edited:
		set(time.Time{}, true, false)
	case after > 0 && (have.IsZero() || soon):
		set(until, false, true)
	case have.Sub(c.expected.Expires).Abs() <= time.Second:
	case c.Ours && near(have): // ours, and it landed
		c.v.Edited = append(c.v.Edited, Expiry)
	case !c.right():
		c.drift("expiry: %s instead of %s", stamp(have), stamp(c.expected.Expires))
	case !c.expected.Expires.IsZero() && after > 0 && !c.Now.Before(c.expected.Expires.Add(-c.lead(after))):
		set(until, false, true)
	default:
		set(c.expected.Expires, false, false)
	}
}

// lead is how long before its expiry a key that is still needed has it moved on: before a rotation is due because of it.
func (c *comparison) lead(after time.Duration) time.Duration {
	if c.old {
		return 2 * policies.Margin
	}
	lead := 2 * (c.p.ExpiryLead() + c.p.Offset())
	if after > 0 {
		lead = min(lead, after*3/4)
	}
	return lead
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
