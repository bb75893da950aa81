// Package decommission models the end of a policy: its last key is turned off without a successor, and removed from its targets.
//
// In it: the live key, a target of this policy and a target of another policy, which may hold the key too; consumers that use it or
// do not, as xAI's usage shows, with a lag; the disable, the removal of the value and the delete; people who withdraw, accept the
// outage, or put another value into the target. The promises: no consumer is cut off unless people accepted that; a target of another
// policy never holds a dead key; only the value of this key is removed; nothing is left when it is over.
// Left out: late effects (see effects), deadlines.
package decommission

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	ProvenIdleFirst      bool // the key is disabled only when usage proves that nothing uses it, or people accept the outage
	SilenceIsNoProof     bool // usage that has not arrived yet does not prove that a key is idle
	ReadsOtherPolicies   bool // the gate reads what other policies' targets hold
	DisableBeforeRemoval bool // the value is removed after the key was turned off, so that a withdrawal can turn it on again
	OnlyOurValueRemoved  bool // a target that holds another value by now is left as it is
	RemovesBeforeDelete  bool // the key is deleted only after its value was removed
}

// value is what a target holds.
type value uint8

const (
	ours value = iota
	empty
	foreign
)

type phase uint8

const (
	live phase = iota
	leaving
	disabled
	deleted
)

type state struct {
	phase       phase
	on          bool
	own, others value // what this policy's target and the other policy's hold
	used        bool  // consumers use the key
	usageLags   bool  // and the usage that xAI reports is not up to date
	accepted    bool  // --accept-outage
	commands    uint8
	overwrote   bool // a value that is not ours was removed
	restored    bool // a withdrawal found nothing to turn on again
}

func build(r rules) model.Model[state] {
	var start []state
	for _, others := range []value{ours, foreign} {
		for _, used := range []bool{true, false} {
			start = append(start, state{on: true, others: others, used: used, usageLags: used})
		}
	}
	return model.Model[state]{
		Start: start,
		Next: func(s state, step model.Step[state]) {
			consumers(s, step)
			people(s, step)
			job(r, s, step)
		},
		Broken: broken,
		Owed:   owed,
	}
}

func broken(a state, by model.Actor, b state) string {
	cutOff := a.on && !b.on || a.own == ours && b.own == empty
	switch {
	case by == model.Program && cutOff && b.used && !b.accepted:
		return "consumers are cut off, and nobody accepted that"
	case !b.on && b.others == ours:
		return "another policy's target holds a dead key"
	case b.overwrote:
		return "a value that is not ours is removed"
	case b.phase == live && b.restored:
		return "a withdrawal cannot restore the value"
	case b.phase == deleted && b.own == ours:
		return "a deleted key is left in a target"
	}
	return ""
}

func owed(s state) string {
	told := s.used || s.others == ours // in use: told
	if s.phase == live || s.phase == deleted || told {
		return ""
	}
	return "the decommission never ends"
}

func consumers(s state, step model.Step[state]) {
	n := s
	if s.usageLags {
		n.usageLags = false
		step(model.World, n, "xAI's usage is up to date")
	}
	n = s
	if n.used = false; s.used && !s.usageLags {
		step(model.World, n, "consumers stop using the key")
	}
}

func people(s state, step model.Step[state]) {
	if s.commands == 3 {
		return
	}
	s.commands++
	n := s
	switch s.phase {
	case live:
		n.phase = leaving
		step(model.Person, n, "decommission")
		n.accepted = true
		step(model.Person, n, "decommission --accept-outage")
	case leaving, disabled:
		n.phase, n.on, n.accepted = live, true, false
		n.restored = s.own == empty // the value was in the target alone
		if s.phase == leaving || s.own == ours {
			step(model.Person, n, "withdrawn: the key is turned on again")
		}
	}
	n = s
	if n.own = foreign; s.own == ours {
		step(model.Person, n, "people put a value of their own into the target")
	}
	n = s
	if n.others = foreign; s.others == ours {
		step(model.Person, n, "the other policy's target gets another value")
	}
}

func job(r rules, s state, step model.Step[state]) {
	n := s
	switch s.phase {
	case leaving:
		idle := !s.used || s.usageLags && !r.SilenceIsNoProof
		mayEnd := (idle || s.accepted || !r.ProvenIdleFirst) && (s.others != ours || !r.ReadsOtherPolicies)
		if mayEnd && !r.DisableBeforeRemoval {
			remove(r, s, step)
		}
		if n.phase, n.on = disabled, false; mayEnd {
			step(model.Program, n, "the key is disabled")
		}
	case disabled:
		remove(r, s, step)
		if n.phase = deleted; s.own != ours || !r.RemovesBeforeDelete {
			step(model.Program, n, "the key is deleted")
		}
	}
}

func remove(r rules, s state, step model.Step[state]) {
	switch {
	case s.own == ours:
		s.own = empty
		step(model.Program, s, "the value is removed from the target")
	case s.own == foreign && !r.OnlyOurValueRemoved:
		s.own, s.overwrote = empty, true
		step(model.Program, s, "the value is removed from the target")
	}
}

func TestDecommission(t *testing.T) {
	t.Parallel()
	const cutOff = "consumers are cut off, and nobody accepted that"
	model.Check(t, []model.Scenario[rules, state]{{Name: "three commands", Model: build, Needs: model.Needs{
		"ProvenIdleFirst":      cutOff,
		"SilenceIsNoProof":     cutOff,
		"ReadsOtherPolicies":   "another policy's target holds a dead key",
		"DisableBeforeRemoval": "a withdrawal cannot restore the value",
		"OnlyOurValueRemoved":  "a value that is not ours is removed",
		"RemovesBeforeDelete":  "a deleted key is left in a target",
	}}})
}
