// Package standby models a key that is kept ready, so that a rotation need not wait for a create.
//
// In it: a live key, a standby, and two more keys that can be made; rotations; people who say that the live key or the standby is
// compromised; xAI, which kills a key or refuses creates from some moment on. The promises: no target holds a key that was dead or
// known to be compromised when it was written; a standby that no target holds is never kept once it is bad; a wish for a new key is
// fulfilled where a key can be had.
// Left out: several targets, late effects, retirement (a replaced key is gone at once).
package standby

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	ProvedBeforePromote   bool // a standby is proved again right before its promote
	CompromisedIsRejected bool // a standby that is said to be compromised is rejected
	BadIsRejected         bool // a standby that does not prove itself is rejected, and not tried again
	RejectedIsDestroyed   bool // a rejected key is deleted at once
	RotationTakesStandby  bool // a rotation takes the standby where there is one; else a new key is made
	StandbyIsReplaced     bool // when the standby was taken or rejected, another one is made
}

type keyState uint8

const (
	none keyState = iota
	candidate
	standby
	live
	rejected
	deleted
)

type key struct {
	st                keyState
	dead, compromised bool
}

type state struct {
	keys          [4]key
	rotates       uint8 // the key that the rotation in flight makes live, plus 1
	wanted        bool
	refusesCreate bool
	faults        uint8
	commands      uint8
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{keys: [4]key{{st: live}, {st: standby}}}},
		Next: func(s state, step model.Step[state]) {
			worldAndPeople(s, step)
			if s.rotates == 0 {
				begin(r, s, step)
			} else {
				rotate(r, s, step)
			}
			keep(r, s, step)
		},
		Broken: broken,
		Owed:   owed,
	}
}

func (s state) find(st keyState) int {
	for i, k := range s.keys {
		if k.st == st {
			return i
		}
	}
	return -1
}

func broken(a state, _ model.Actor, b state) string {
	for i, k := range b.keys {
		if k.st == live && a.keys[i].st != live && (k.dead || k.compromised) {
			return "a dead or compromised key is promoted"
		}
	}
	return ""
}

func owed(s state) string {
	lv, sb := s.keys[s.find(live)], s.find(standby)
	canMake := s.find(none) >= 0 && !s.refusesCreate
	switch {
	case s.find(rejected) >= 0 || s.find(candidate) >= 0:
		return "a key that nobody needs is left"
	case sb >= 0 && (s.keys[sb].compromised || s.keys[sb].dead && s.wanted):
		return "a bad standby is kept"
	case (s.wanted || lv.dead || lv.compromised) && (canMake || sb >= 0 && !s.keys[sb].dead):
		return "a new key is due, and none is made live"
	case sb < 0 && canMake:
		return "there is no standby"
	}
	return ""
}

func worldAndPeople(s state, step model.Step[state]) {
	for i, k := range s.keys {
		n := s
		if (k.st == live || k.st == standby) && !k.dead && s.faults < 2 {
			n.faults, n.keys[i].dead = s.faults+1, true
			step(model.World, n, "xAI kills key %d", i)
		}
		n = s
		if n.commands++; s.commands < 2 && (k.st == live || k.st == standby) && !k.compromised {
			n.keys[i].compromised = true
			step(model.Person, n, "rotate --compromised --key %d", i)
		}
	}
	n := s
	if n.commands++; s.commands < 2 {
		n.wanted = true
		step(model.Person, n, "rotate")
	}
	n = s
	if n.faults++; s.faults < 2 && !s.refusesCreate {
		n.refusesCreate = true
		step(model.World, n, "xAI refuses creates from now on")
	}
}

func begin(r rules, s state, step model.Step[state]) {
	lv := s.keys[s.find(live)]
	if !s.wanted && !lv.dead && !lv.compromised {
		return
	}
	n := s
	if sb := s.find(standby); sb >= 0 && r.RotationTakesStandby {
		n.rotates = uint8(sb) + 1
		step(model.Program, n, "rotation to the standby, key %d", sb)
	} else if free := s.find(none); free >= 0 && !s.refusesCreate {
		n.rotates, n.keys[free].st = uint8(free)+1, candidate
		step(model.Program, n, "rotation to new key %d", free)
	}
}

func rotate(r rules, s state, step model.Step[state]) {
	i := int(s.rotates) - 1
	k, n := s.keys[i], s
	n.rotates = 0
	switch {
	case k.compromised && r.CompromisedIsRejected || k.dead && r.ProvedBeforePromote:
		if r.BadIsRejected {
			n.keys[i].st = rejected
		}
		step(model.Program, n, "key %d is bad: rotation aborted", i)
	default:
		n.keys[s.find(live)].st = deleted
		n.keys[i].st, n.wanted = live, false
		step(model.Program, n, "key %d is live", i)
	}
}

// keep rejects what is bad, deletes what was rejected and makes a standby.
func keep(r rules, s state, step model.Step[state]) {
	for i, k := range s.keys {
		n := s
		switch {
		case k.st == standby && k.compromised && r.CompromisedIsRejected && int(s.rotates) != i+1:
			n.keys[i].st = rejected
			step(model.Program, n, "standby %d is compromised: rejected", i)
		case k.st == rejected && r.RejectedIsDestroyed:
			n.keys[i].st = deleted
			step(model.Program, n, "rejected key %d is deleted", i)
		}
	}
	if free := s.find(none); free >= 0 && s.find(standby) < 0 && s.rotates == 0 && !s.refusesCreate && r.StandbyIsReplaced {
		n := s
		n.keys[free].st = standby
		step(model.Program, n, "standby %d is made", free)
	}
}

func TestStandby(t *testing.T) {
	t.Parallel()
	const bad = "a dead or compromised key is promoted"
	model.Check(t, []model.Scenario[rules, state]{{Name: "two faults, two commands", Model: build, Needs: model.Needs{
		"ProvedBeforePromote":   bad,
		"CompromisedIsRejected": bad,
		"BadIsRejected":         "stuck: a new key is due, and none is made live",
		"RejectedIsDestroyed":   "stuck: a key that nobody needs is left",
		"RotationTakesStandby":  "stuck: a new key is due, and none is made live",
		"StandbyIsReplaced":     "stuck: there is no standby",
	}}})
}
