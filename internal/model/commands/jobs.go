package commands

import (
	"slices"

	"rotator/internal/model"
)

// sick reports whether what consumers read is dead, or there is neither a live key nor a rotation.
func (m machine) sick(s state) bool {
	if m.HealLooksAtTargets && s.find(live) < 0 && s.inFlight() < 0 {
		return true
	}
	for i, k := range s.keys {
		watched := k.st == live || k.st == promoting && (s.held(i) || s.inFlight() == i) || m.HealLooksAtTargets && s.held(i)
		if watched && s.dead(i) {
			return true
		}
	}
	return false
}

// cure returns the key that heal goes to, or -1 if only a new one helps.
func (m machine) cure(s state) int {
	usable := func(i int) bool {
		k := s.keys[i]
		return k.st.exposed() && !k.compromised && k.power != dead && !(k.power == off && m.OneEnable && k.enableTried)
	}
	best := -1
	for i := range s.keys {
		if usable(i) && (best < 0 || s.keys[i].power <= s.keys[best].power) {
			best = i
		}
	}
	if m.HealTakesNewest {
		return best
	}
	for i, k := range s.keys {
		if s.dead(i) && (k.st == live || k.st == promoting || s.held(i)) {
			if to := s.replacedBy(i); to >= 0 && s.keys[to].st != promoting && usable(to) {
				return to
			}
		}
	}
	return -1
}

// replacedBy returns the key that key k replaced, or replaces now.
func (s state) replacedBy(k int) int {
	if s.keys[k].st == promoting {
		return s.find(live)
	}
	return slices.IndexFunc(s.keys[:], func(o key) bool { return int(o.replacedBy) == k+1 })
}

func (m machine) heal(s state, step model.Step[state]) {
	w := s.inFlight()
	if !m.sick(s) || w >= 0 && s.rot.heals && !s.dead(w) {
		return
	}
	n, to, free := s, m.cure(s), s.find(none)
	switch {
	case to >= 0 && w == to && s.rot.promoting:
		n.rot.heals, n.canaryOver = true, true
		step(model.Program, n, "heal: the promotion of key %d is finished now", w)
	case to >= 0:
		m.startRotation(&n, to, false, true)
		n.successorDue = true
		step(model.Program, n, "heal: rotation to key %d", to)
	case w >= 0 && s.rot.isNew && !s.rot.promoting: // a new key is on its way
	case free >= 0 && !s.refusesCreate:
		m.startRotation(&n, free, true, true)
		step(model.Program, n, "heal: rotation to new key %d", free)
	case w >= 0 && s.rot.promoting:
		m.endRotation(&n)
		step(model.Program, n, "heal: rotation superseded, a new key is refused")
	}
}

// begin starts a rotation to a new key where one is due.
func (m machine) begin(s state, step model.Step[state]) {
	lv, free := s.find(live), s.find(none)
	due := s.wanted || s.successorDue || lv >= 0 && s.keys[lv].compromised ||
		m.HealLooksAtTargets && (s.keys[s.holds[0]].compromised || s.keys[s.holds[1]].compromised)
	if s.inFlight() < 0 && free >= 0 && due && !s.refusesCreate && !m.sick(s) && !s.heldRotations && !s.heldAll {
		m.startRotation(&s, free, true, false)
		step(model.Program, s, "rotation to new key %d", free)
	}
}

// rotate goes on with the rotation in flight.
func (m machine) rotate(s state, step model.Step[state]) {
	w := s.inFlight()
	if w < 0 {
		return
	}
	k, n := s.keys[w], s
	switch {
	case m.CompromisedIsNotUsed && k.compromised && k.st != live:
		m.endRotation(&n)
		step(model.Program, n, "key %d is compromised: its rotation ends", w)
	case k.st == none && !s.refusesCreate:
		n.keys[w].st = candidate
		step(model.Program, n, "create key %d", w)
	case k.st == none:
		m.endRotation(&n)
		step(model.Program, n, "create refused: rotation aborted")
	case k.power == off && !k.compromised && !(m.OneEnable && k.refusesEnable && k.enableTried):
		n.keys[w].enableTried = true
		if !k.refusesEnable {
			n.keys[w].power = on
		}
		step(model.Program, n, "enable key %d", w)
	case k.power != on && !s.rot.promoting:
		m.endRotation(&n)
		step(model.Program, n, "key %d is bad: rotation aborted", w)
	case !s.rot.promoting && (!k.lateDisable || s.deadTarget()):
		n.rot.promoting = true
		if k.st != live {
			n.keys[w].st = promoting
		}
		step(model.Program, n, "promotion of key %d begins", w)
	case s.rot.promoting:
		m.promote(s, w, step)
	}
}

func (m machine) promote(s state, w int, step model.Step[state]) {
	k := s.keys[w]
	for t, holds := range s.holds {
		skipWaits := s.deadTarget()
		if m.WaitsEndPerTarget {
			skipWaits = s.dead(int(holds))
		}
		waits := k.lateDisable && !skipWaits || m.canary && t == 1 && !s.canaryOver
		if int(holds) != w && k.power == on && !waits {
			n := s
			n.holds[t], n.wasAlive[t] = uint8(w), !s.dead(int(holds))
			step(model.Program, n, "promote key %d at target %d", w, t)
		}
	}
	if !s.everywhere(w) || k.power != on || k.lateDisable {
		return
	}
	n := s
	for i := range n.keys {
		if o := &n.keys[i]; i != w && (o.st == live || o.st == promoting) {
			o.st, o.replacedBy = retiring, uint8(w)+1
		}
	}
	n.keys[w].st, n.keys[w].replacedBy = live, 0
	n.rot, n.canaryOver = rotation{}, false
	n.wanted = s.wanted && m.WishNeedsNewKey && w < int(s.since)
	n.successorDue = s.successorDue && !s.rot.isNew
	step(model.Program, n, "key %d is live", w)
}

// rewrite is heal for a target that lacks the live key.
func (m machine) rewrite(s state, step model.Step[state]) {
	lv := s.find(live)
	if s.inFlight() >= 0 || lv < 0 || s.dead(lv) || s.keys[lv].lateDisable {
		return
	}
	for t, holds := range s.holds {
		if int(holds) == lv {
			continue
		}
		n := s
		n.holds[t], n.wasAlive[t] = uint8(lv), !s.dead(int(holds))
		step(model.Program, n, "rewrite key %d at target %d", lv, t)
	}
}

func (m machine) retire(s state, step model.Step[state]) {
	lv := s.find(live)
	standsEverywhere := lv >= 0 && s.everywhere(lv)
	gate := standsEverywhere && !(m.GateProvesLiveKey && s.dead(lv)) && !s.heldAll
	for i, k := range s.keys {
		n := s
		to := &n.keys[i]
		switch {
		case m.RetireLeavesWantedKey && s.inFlight() == i:
		case m.CompromisedIsNotUsed && k.st == candidate && k.compromised && s.inFlight() != i:
			to.st = rejected
			step(model.Program, n, "key %d is compromised and was never exposed: rejected", i)
		case k.st == promoting && s.inFlight() != i && m.ForsakenKeyRetires && standsEverywhere && !s.dead(lv):
			to.st, to.replacedBy = retiring, uint8(lv)+1
			step(model.Program, n, "key %d is retiring: no rotation names it", i)
		case k.st == rejected && !s.held(i):
			to.st, to.power = deleted, dead
			step(model.Program, n, "delete rejected key %d", i)
		case k.st == retiring && gate && k.power == on && !k.refusesDisable:
			to.st, to.power = disabled, off
			step(model.Program, n, "disable key %d", i)
		case (k.st == disabled || k.st == retiring && (k.refusesDisable || k.power != on)) && gate:
			to.st, to.power = deleted, dead
			step(model.Program, n, "delete key %d", i)
		}
	}
}
