// Package grant says what a key may do at xAI and for how long, what its policy wants of that, and what is to be changed. It is
// pure: the engine, `plan`, `status` and health all ask it, and get the same answer.
//
// Three things are known of a key. Asked is what its policy last asked of xAI. Shown is what xAI was to show from then on. Listed
// is what xAI showed last. Where the policy wants something else than was asked, it was edited, and the key follows. Where xAI shows
// something else than it was to show, someone changed the key outside.
package grant

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotator/policies"
	"rotator/rotation/journal"
)

// Grant is what a key may do at xAI, for how long, and under which name.
type Grant struct {
	Name     string    `json:"name,omitempty"`
	ACLs     []string  `json:"acls,omitempty"` // sorted; nil: not known
	QPS      *int      `json:"qps,omitempty"`  // nil: none of its own
	QPM      *int      `json:"qpm,omitempty"`
	TPM      *string   `json:"tpm,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`  // zero: never
	Modified time.Time `json:"modified,omitzero"` // when xAI last changed the key
	Complete bool      `json:"complete,omitempty"`
}

// Read is the grant that String wrote; false for "" and for what cannot be read.
func Read(text string) (Grant, bool) {
	var g Grant
	if text == "" || json.Unmarshal([]byte(text), &g) != nil {
		return Grant{}, false
	}
	return g, true
}

// String writes the grant: the same text for the same grant.
func (g Grant) String() string {
	g.ACLs = sorted(g.ACLs)
	g.Expires, g.Modified = g.Expires.UTC().Truncate(time.Microsecond), g.Modified.UTC().Truncate(time.Microsecond)
	text, err := json.Marshal(g)
	if err != nil { // strings, numbers and times only
		return ""
	}
	return string(text)
}

// AskedOf is what its policy last asked for a key. Of a key that was adopted nothing was asked before the first edit: what its
// policy said then counts, and is recorded with the key.
func AskedOf(k *journal.Key, p *policies.Policy) policies.KeySpec {
	var asked policies.KeySpec
	if k.Asked != "" && json.Unmarshal([]byte(k.Asked), &asked) == nil {
		return asked
	}
	if made, err := policies.Decode([]byte(k.Spec)); err == nil {
		return made.Key
	}
	return p.Key
}

// Ask writes what is asked for a key.
func Ask(s policies.KeySpec) string {
	s.ACLs, s.Enforce = sorted(s.ACLs), false
	text, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(text)
}

// Expected is what xAI is to show of a key that is as it was asked for. Complete is false where a nil limit says nothing.
func Expected(k *journal.Key, asked policies.KeySpec) Grant {
	if g, ok := Read(k.Shown); ok {
		return g
	}
	if k.Origin == journal.OfAdoption { // as it was found
		return Grant{}
	}
	return Grant{ACLs: sorted(asked.ACLs), QPS: asked.QPS, QPM: asked.QPM, TPM: asked.TPM, Expires: k.Expiry()}
}

// filled takes the rights and limits that a grant leaves open from another one.
func (g Grant) filled(from Grant) Grant {
	if len(g.ACLs) == 0 {
		g.ACLs = sorted(from.ACLs)
	}
	if g.QPS == nil {
		g.QPS = from.QPS
	}
	if g.QPM == nil {
		g.QPM = from.QPM
	}
	if g.TPM == nil {
		g.TPM = from.TPM
	}
	return g
}

// Known fills what a grant leaves open with what xAI shows, and makes it complete.
func (g Grant) Known(have Grant) Grant {
	if g.Complete {
		return g
	}
	g = g.filled(have)
	if g.Expires.IsZero() {
		g.Expires = have.Expires
	}
	g.Complete = true
	return g
}

// Accept records that xAI shows a part of a key as the policy wants it. have is what xAI shows.
func Accept(k *journal.Key, v Verdict, have Grant, parts ...Part) {
	asked, shown := v.asked, v.shown
	for _, part := range parts {
		switch part {
		case Rights:
			asked.ACLs, shown.ACLs = v.next.ACLs, v.expect.ACLs
		case Limits:
			acceptLimits(&asked, &shown, v.next, have, false)
		case Expiry:
			asked.ExpiresAfter, shown.Expires = v.next.ExpiresAfter, have.Expires
		}
	}
	shown.Modified = have.Modified
	k.Asked, k.Shown = Ask(asked), shown.String()
}

// AcceptSome records those limits that xAI changed although it kept others.
func AcceptSome(k *journal.Key, v Verdict, have Grant) {
	asked, shown := v.asked, v.shown
	acceptLimits(&asked, &shown, v.next, have, true)
	k.Asked, k.Shown = Ask(asked), shown.String()
}

// acceptLimits records the limits that are as the policy wants them. Another value than the one that is wanted came from someone else
// meanwhile, and is still to be looked at. A limit that the policy took away may show as anything, unless xAI kept some.
func acceptLimits(asked *policies.KeySpec, shown *Grant, want policies.KeySpec, have Grant, kept bool) {
	was, to := limitsOf(asked.QPS, asked.QPM, asked.TPM), limitsOf(shown.QPS, shown.QPM, shown.TPM)
	is := limitsOf(have.QPS, have.QPM, have.TPM)
	for i, l := range limitsOf(want.QPS, want.QPM, want.TPM) {
		if is[i] == l || l.value == "" && was[i] != l && !kept {
			was[i], to[i] = l, is[i]
		}
	}
	asked.QPS, asked.QPM, asked.TPM = was[0].number(), was[1].number(), was[2].text()
	shown.QPS, shown.QPM, shown.TPM = to[0].number(), to[1].number(), to[2].text()
}

// limit is one of the limits, as a text; "" is none.
type limit struct{ name, value string }

func limitsOf(qps, qpm *int, tpm *string) []limit {
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	all := []limit{{"qps", number(qps)}, {"qpm", number(qpm)}, {"tpm", ""}}
	if tpm != nil {
		all[2].value = *tpm
	}
	return all
}

func (l limit) String() string {
	if l.value == "" {
		return "no " + l.name
	}
	return l.name + " " + l.value
}

// number is the limit as xAI takes qps and qpm; nil for none.
func (l limit) number() *int {
	n, err := strconv.Atoi(l.value)
	if err != nil {
		return nil
	}
	return &n
}

// text is the limit as xAI takes tpm; nil for none.
func (l limit) text() *string {
	if l.value == "" {
		return nil
	}
	return &l.value
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func sameSet(a, b []string) bool { return slices.Equal(sorted(a), sorted(b)) }

// without are those of a list that are not in another one, sorted.
func without(list, of []string) []string {
	return slices.DeleteFunc(sorted(list), func(s string) bool { return slices.Contains(of, s) })
}

func words(list []string) string { return strings.Join(list, ", ") }

// Settled reports whether it is recorded of a key what xAI was to show, with all limits.
func Settled(k *journal.Key) bool {
	g, ok := Read(k.Shown)
	return ok && g.Complete
}

// Begin records what was asked for a key, and what xAI shows of it, when that is first known.
func Begin(k *journal.Key, p *policies.Policy, have Grant) {
	asked := AskedOf(k, p)
	shown := Expected(k, asked).Known(have)
	shown.Name, shown.Modified = "", have.Modified
	k.Asked, k.Shown = Ask(asked), shown.String()
}

// Made records what xAI showed of a key when it was made. What it left out there a list may show.
func Made(k *journal.Key, p *policies.Policy, have Grant) {
	asked := AskedOf(k, p)
	have = have.filled(Grant{ACLs: asked.ACLs, QPS: asked.QPS, QPM: asked.QPM, TPM: asked.TPM})
	have.Name, have.Complete = "", false
	k.Shown = have.String()
}

// Sorted are the rights in order.
func (g Grant) Sorted() []string { return sorted(g.ACLs) }

// KeptLimits are those of some limits that are not as asked; "" when there are none. One that was taken away may be another than it
// was: xAI may show the team's.
func KeptLimits(to, was, have Grant, names []string) string {
	var not []string
	before, is := limitsOf(was.QPS, was.QPM, was.TPM), limitsOf(have.QPS, have.QPM, have.TPM)
	for i, want := range limitsOf(to.QPS, to.QPM, to.TPM) {
		taken := want.value == "" && is[i] != before[i]
		if slices.Contains(names, want.name) && want != is[i] && !taken {
			not = append(not, is[i].String())
		}
	}
	return words(not)
}

// Words tell people what a key may do.
func (g Grant) Words() string {
	text := words(g.Sorted())
	for _, l := range limitsOf(g.QPS, g.QPM, g.TPM) {
		if l.value != "" {
			text += ", " + l.String()
		}
	}
	if !g.Expires.IsZero() {
		text += ", expires " + stamp(g.Expires)
	}
	return text
}
