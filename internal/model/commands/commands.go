// Package commands models what people ask for, and healing.
//
// In it: four keys (0 was replaced by 1, which is live; 2 and 3 can be made) and two targets. People say rotate, compromised, revoke,
// abort, rollback, supersede, hold, revive and release, in every order. xAI kills a key, or refuses a create, an enable or a disable.
// Heal, rotate and retire are as in the engine; with canary, the second target waits. The promises: the engine makes no target
// worse; a wish for a new key is not forgotten; no key that works is destroyed while nothing else does; everything ends at rest.
// Left out: effects that land late (see effects), but for one: a disable of key 0 may land late.
package commands

import (
	"slices"

	"rotator/internal/model"
)

type rules struct {
	AbortGivesBack        bool // an abort gives an existing key its state back; only a new key becomes rejected
	RetireLeavesWantedKey bool // retire leaves the key that the rotation in flight names
	HealLooksAtTargets    bool // heal and due look at what the targets hold, not at the states of keys alone
	ForsakenKeyRetires    bool // a promoting key that no rotation names becomes retiring once the live key is everywhere
	CompromisedIsNotUsed  bool // a compromised key's rotation ends; a compromised candidate becomes rejected
	WishNeedsNewKey       bool // a wish for a new key ends when a key made after it is live, not when any is
	WaitsEndPerTarget     bool // waits are skipped only at a target whose own value is dead
	HealTakesNewest       bool // heal goes to the newest exposed key that proves itself; else to the key that the dead one replaced
	OneEnable             bool // a key that we turned off is enabled once; if that is refused, it counts as bad
	GateProvesLiveKey     bool // nothing exposed is destroyed unless the live key proves itself now
}

type world struct {
	commands, faults uint8
	canary           bool
	lateDisable      bool // key 0 was just disabled, and that may land late
	onlyHelpful      bool // people neither say compromised, revoke nor supersede
}

type keyState uint8

const (
	none keyState = iota
	candidate
	promoting
	live
	retiring
	disabled
	rejected
	deleted
)

var stateNames = []string{"none", "candidate", "promoting", "live", "retiring", "disabled", "rejected", "deleted"}

func (st keyState) exposed() bool { return st >= promoting && st <= disabled }

// power is whether xAI accepts a key.
type power uint8

const (
	on power = iota
	off
	dead // killed by xAI, or deleted: nothing brings it back
)

const keys = 4

type key struct {
	st             keyState
	power          power
	compromised    bool
	replacedBy     uint8 // plus 1
	lateDisable    bool  // a disable of it may still land
	refusesEnable  bool
	refusesDisable bool
	enableTried    bool
}

type rotation struct {
	key       uint8 // plus 1; 0: none is in flight
	promoting bool
	isNew     bool
	heals     bool
}

type state struct {
	keys                   [keys]key
	holds                  [2]uint8 // the key in each target
	wasAlive               [2]bool  // what each target held before its last promote was alive
	rot                    rotation
	wanted                 bool  // people want a new key
	since                  uint8 // the first key that fulfills it
	successorDue           bool  // heal went back to an old key
	heldRotations, heldAll bool
	refusesCreate          bool
	canaryOver             bool
	commands, faults       uint8
}

type machine struct {
	rules
	world
}

func build(w world) func(rules) model.Model[state] {
	return func(r rules) model.Model[state] {
		s := state{holds: [2]uint8{1, 1}}
		s.keys[0] = key{st: retiring, replacedBy: 2}
		s.keys[1] = key{st: live}
		if w.lateDisable {
			s.keys[0].st, s.keys[0].lateDisable = disabled, true
		}
		m := machine{r, w}
		return model.Model[state]{Start: []state{s}, Next: m.next, Broken: broken, Owed: owed}
	}
}

func (m machine) next(s state, step model.Step[state]) {
	m.faultSteps(s, step)
	m.heal(s, step)
	m.begin(s, step)
	m.rotate(s, step)
	m.rewrite(s, step)
	m.retire(s, step)
	if s.commands < m.world.commands {
		m.people(s, step)
	}
}

// find returns the first key in the given state, or -1.
func (s state) find(st keyState) int {
	return slices.IndexFunc(s.keys[:], func(k key) bool { return k.st == st })
}

func (s state) inFlight() int { return int(s.rot.key) - 1 }

func (s state) dead(k int) bool { return s.keys[k].power != on }

func (s state) held(k int) bool { return int(s.holds[0]) == k || int(s.holds[1]) == k }

func (s state) everywhere(k int) bool { return int(s.holds[0]) == k && int(s.holds[1]) == k }

func (s state) deadTarget() bool { return s.dead(int(s.holds[0])) || s.dead(int(s.holds[1])) }

// startRotation ends what is in flight and begins a rotation to key k.
func (m machine) startRotation(s *state, k int, isNew, heals bool) {
	m.endRotation(s)
	s.rot = rotation{key: uint8(k) + 1, isNew: isNew, heals: heals}
}

// endRotation ends the rotation in flight. An existing key that was not promoted never left its state.
func (m machine) endRotation(s *state) {
	if k := s.inFlight(); k >= 0 && !s.rot.promoting && (s.rot.isNew || !m.AbortGivesBack) && s.keys[k].st != none {
		s.keys[k].st = rejected
	}
	s.rot, s.canaryOver = rotation{}, false
}

func (m machine) faultSteps(s state, step model.Step[state]) {
	for i, k := range s.keys {
		n := s
		if k.lateDisable {
			n.keys[i].lateDisable = false
			step(model.World, n, "the disable of key %d is quiet, it never landed", i)
			n.keys[i].power = max(k.power, off)
			step(model.World, n, "the disable of key %d lands late", i)
		}
		n = s
		n.faults++
		switch {
		case s.faults == m.faults:
		case k.power == on && (k.st == live || k.st == promoting):
			n.keys[i].power = dead
			step(model.World, n, "xAI kills key %d", i)
		case k.power == off && k.st == disabled && !k.refusesEnable:
			n.keys[i].refusesEnable = true
			step(model.World, n, "xAI will refuse to enable key %d", i)
		case k.st == retiring && !k.refusesDisable:
			n.keys[i].refusesDisable = true
			step(model.World, n, "xAI will refuse to disable key %d", i)
		}
	}
	n := s
	if s.faults < m.faults && !s.refusesCreate {
		n.faults, n.refusesCreate = s.faults+1, true
		step(model.World, n, "xAI refuses creates from now on")
	}
	n = s
	if m.canary && s.rot.promoting {
		n.canaryOver = true
		step(model.World, n, "the canary's time is over")
	}
}
