package commands

import (
	"fmt"

	"rotator/internal/model"
)

func broken(a state, by model.Actor, b state) string {
	for t, holds := range b.holds {
		switch {
		case a.dead(int(a.holds[t])) || !b.dead(int(holds)): // dead before, or alive
		case by == model.Person || b.faults > a.faults: // people or xAI killed it
		case by == model.World && !b.wasAlive[t]: // a late disable of a key that was written because nothing better was at hand
		default:
			return fmt.Sprintf("a target holds dead key %d", holds)
		}
	}
	if by != model.Program {
		return ""
	}
	if a.wanted && !b.wanted && b.find(live) < int(a.since) {
		return "the wish for a new key is forgotten without one"
	}
	for i := range b.keys {
		if promise := brokenForKey(a, b, i); promise != "" {
			return promise
		}
	}
	return ""
}

// brokenForKey looks at a step of the program that changes key i.
func brokenForKey(a, b state, i int) string {
	before, after := a.keys[i], b.keys[i]
	if before.st == after.st {
		return ""
	}
	switch after.st {
	case disabled, deleted:
		if a.inFlight() == i && before.st != rejected {
			return fmt.Sprintf("key %d is destroyed, and the rotation in flight wants it", i)
		}
		if before.power == on && !before.compromised && before.st.exposed() && lastOneOn(a, i) {
			return fmt.Sprintf("key %d is destroyed, the last one that works", i)
		}
	case live:
		if after.compromised {
			return fmt.Sprintf("compromised key %d is made live", i)
		}
	case rejected:
		if before.st != candidate {
			return fmt.Sprintf("key %d was exposed and is rejected", i)
		}
	}
	return ""
}

func lastOneOn(s state, i int) bool {
	for j, k := range s.keys {
		if j != i && k.power == on && k.st.exposed() {
			return false
		}
	}
	return true
}

// owed names what is not at rest. States in which people were notified that they must act owe nothing.
func owed(s state) string {
	if s.find(none) < 0 {
		return "" // the model ran out of keys, not the engine
	}
	for _, k := range s.keys {
		if k.lateDisable {
			return "" // an effect may still land
		}
	}
	for _, holds := range s.holds {
		if promise := owedToTarget(s, int(holds)); promise != "" {
			return promise
		}
	}
	if s.refusesCreate || s.heldAll {
		return ""
	}
	lv := s.find(live)
	switch {
	case s.inFlight() >= 0:
		return "the rotation never ends"
	case lv < 0:
		return "no key is live and nothing begins"
	case s.heldRotations && (s.keys[lv].compromised || s.wanted || s.successorDue):
		return ""
	case s.wanted && !s.heldRotations:
		return "the wish for a new key is not fulfilled"
	case s.keys[lv].compromised && !s.heldRotations:
		return "the compromised key stays live"
	}
	for i, k := range s.keys {
		if i != lv && k.st != none && k.st != deleted {
			return fmt.Sprintf("key %d stays %s", i, stateNames[k.st])
		}
	}
	return ""
}

func owedToTarget(s state, holds int) string {
	if !s.dead(holds) {
		return ""
	}
	if !s.refusesCreate {
		return fmt.Sprintf("a target holds dead key %d and nothing is done", holds)
	}
	for i, k := range s.keys {
		if k.power == on && !k.compromised && (k.st == live || k.st == promoting || k.st == retiring) {
			return fmt.Sprintf("a target holds dead key %d, key %d works, and nothing is done", holds, i)
		}
	}
	return ""
}
