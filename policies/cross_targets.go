package policies

import (
	"fmt"
	"maps"
	"slices"
)

// use is a target that a policy writes.
type use struct {
	claim     *claim
	policy    *Policy // as it was when the target was written down: a claim that was refused has another
	field     string  // "" is the whole value
	at        string  // where it is written, in words
	mark      mark    // the same; zero where it is kept
	target    Target
	right     int  // of the claim to the target, once someone asked
	contested bool // refused together with another newcomer: a third one has no better right
}

// The right to a target, the better the higher.
const (
	newPolicy   = iota + 1
	knownPolicy // accepted before, without this target
	hadTarget   // accepted before, with this target
	keptPolicy  // in force as it was accepted before
)

// targets refuses policies that name the same place as another that has a better right to it. A policy that is refused falls
// back to what was accepted before, which may refuse others.
func (s *settling) targets() {
	var queue []*claim
	for _, name := range slices.Sorted(maps.Keys(s.claims)) {
		if c := s.claims[name]; c.kept && c.policy != nil {
			queue = append(queue, c)
		}
	}
	queue = append(queue, slices.DeleteFunc(s.order, func(c *claim) bool { return c.kept })...)
	for len(queue) > 0 {
		c := queue[0]
		queue = append(queue[1:], s.occupy(c)...)
	}
}

// occupy writes down the targets of a claim, and returns claims that fell back to what was accepted before.
func (s *settling) occupy(c *claim) (back []*claim) {
	p := c.policy
	if p == nil {
		return nil
	}
	for i, t := range p.Targets {
		if t.Store == "" || t.Path == "" {
			continue
		}
		u := use{claim: c, policy: p, field: s.fieldOf(t), target: t, at: place(p)}
		if !c.kept {
			u.mark = c.doc.targets[i]
			u.at = fmt.Sprintf("%s:%d", p.File, u.mark.line)
		}
		where := [2]string{t.Store, t.Path}
		for k := range s.uses[where] {
			other := &s.uses[where][k]
			what, want := s.clash(u, *other, t.Store)
			if what == "" || other.claim.policy != other.policy && !(other.contested && s.rank(&u) <= s.rank(other)) {
				continue
			}
			if c.kept && s.rank(other) == keptPolicy {
				continue // both were in force before
			}
			// Refusing ends this claim as it is: its other targets are not looked at any more.
			switch {
			case other.claim == c || s.rank(&u) < s.rank(other):
				why := s.fail(c.doc, u.mark, what, want)
				return append(back, s.refuse(p.Name, why)...)
			case s.rank(&u) == s.rank(other):
				why := s.fail(c.doc, u.mark, what, want)
				u.contested, other.contested = true, true
				s.uses[where] = append(s.uses[where], u)
				if other.claim.policy == other.policy {
					back = append(back, s.refuse(other.policy.Name, why)...)
				}
				return append(back, s.refuse(p.Name, why)...)
			default:
				what, want = s.clash(*other, u, t.Store)
				why := s.fail(other.claim.doc, other.mark, what, want)
				back = append(back, s.refuse(other.policy.Name, why)...)
			}
		}
		s.uses[where] = append(s.uses[where], u)
	}
	return back
}

// fieldOf is the field that a target writes, with the default of its store's type.
func (s *settling) fieldOf(t Target) string {
	if kind := s.options.Stores[t.Store]; t.Field == "" && (kind == "vault" || kind == "kubernetes") {
		return defaultField
	}
	return t.Field
}

// rank is how good the right of a claim to a target is. It is asked only in a conflict: what was accepted before is decoded for it.
func (s *settling) rank(u *use) int {
	if u.right == 0 {
		u.right = s.rankOf(u.claim, u.target)
	}
	return u.right
}

func (s *settling) rankOf(c *claim, t Target) int {
	if c.kept {
		return keptPolicy
	}
	if !s.known(c.policy.Name) {
		return newPolicy
	}
	if before := s.former(c.policy.Name, c); before != nil && slices.ContainsFunc(before.Targets, func(b Target) bool {
		return b.Store == t.Store && b.Path == t.Path && s.fieldOf(b) == s.fieldOf(t) && b.Format == t.Format
	}) {
		return hadTarget
	}
	return knownPolicy
}

// clash says why two targets of one path cannot both be, "" where they can.
func (s *settling) clash(u, other use, store string) (what, want string) {
	switch {
	case u.field == other.field:
		return "this target is written by " + other.at + " too", "every store, path and field once, over all policies"
	case s.options.Stores[store] != "" && (u.field == "" || other.field == ""):
		return "of this target and the one at " + other.at + " one is the whole secret, the other a field of it", "a field in both, or another path"
	case u.target.Format != other.target.Format:
		return "this target and the one at " + other.at + " are one file, and only one of them has format: dotenv", "the same format in both, or another path"
	}
	return "", ""
}
