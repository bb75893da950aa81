// Package race models two policies that meet one hand-made key at the same moment.
//
// In it: policies P and Q with one target each, which both hold the hand-made key H, or come to hold it when a person copies it. The
// turns of the two interleave step by step: read the target, commit what was read, commit the adoption, write a new key, make it
// live, ask the gate's questions one by one, destroy H. A process may die at any step; its turn then goes on from the rows. The
// promise: H is never destroyed while a target holds it, one policy adopts it, and it is destroyed once no target holds it.
// Left out: effects that land late (see effects), stores that fail or read empty (see adoption).
package race

import (
	"rotator/internal/model"
)

type rules struct {
	OneAdopts            bool // a key id is unique in the journal: of two commits that adopt it, the second fails
	LoserKeepsItsRow     bool // the policy that loses the race keeps its target row, and the sighting of H in it
	GateReadsTheOther    bool // for an adopted key, the targets of every policy are read at the gate
	ForeignIsNotReplaced bool // a value that another policy claims is not replaced unless people say so
}

type phase uint8

const (
	start     phase = iota
	read            // read H, not yet committed
	unclaimed       // found that nothing adopted H
	claimed         // this policy adopted H
	lost            // told: adopted elsewhere
	promoted        // its own key is in its target
	retiring        // its own key is live and H is retiring
	gateOwn         // the gate's read of its own target found no H
	gateBoth        // the gate's read of the other target, too
	done
)

type state struct {
	phase  [2]phase
	holdsH [2]bool // truly, in each policy's target
	row    [2]bool // the journal has a row for the policy's target
	sight  [2]bool // and a sighting of H in it
	owner  [2]bool // who adopted H: one, but without the unique index both
	gone   bool
	copied uint8 // times that people copied H
	died   uint8 // times that a process died
	freed  bool  // people let the loser replace its value
}

func build(r rules) model.Model[state] {
	rows := [2]bool{true, true} // written when the policies were loaded
	return model.Model[state]{
		Start:  []state{{holdsH: [2]bool{true, true}, row: rows}, {holdsH: [2]bool{true, false}, row: rows}},
		Next:   func(s state, step model.Step[state]) { next(r, s, step) },
		Broken: broken,
		Owed:   owed,
	}
}

func broken(a state, _ model.Actor, b state) string {
	switch {
	case b.gone && !a.gone && (b.holdsH[0] || b.holdsH[1]):
		return "H is destroyed while a target holds it"
	case b.owner[0] && b.owner[1]:
		return "both policies adopted H"
	}
	for i, p := range b.phase {
		if p == promoted && a.phase[i] != promoted && !b.owner[i] && !b.freed && a.holdsH[i] {
			return "a policy replaces a key that another one claims, and nobody said so"
		}
	}
	return ""
}

// owed: someone adopts H, and H is destroyed unless a target of the other policy holds it, which is reported.
func owed(s state) string {
	for i, p := range s.phase {
		if s.owner[i] && p != done && !s.holdsH[1-i] && !s.sight[1-i] {
			return "H is never destroyed"
		}
	}
	return ""
}

func next(r rules, s state, step model.Step[state]) {
	for i := range s.phase {
		contact(r, s, i, step)
		retire(r, s, i, step)
		name := policy(i)
		if s.died < 2 && s.phase[i] != start && s.phase[i] != done {
			n := s
			n.died++
			n.phase[i] = afterCrash(s, i)
			step(model.World, n, "%s: the process dies", name)
		}
		if s.copied < 1 && !s.gone && !s.holdsH[i] && s.phase[i] < promoted && !s.gateUnderWay() {
			n := s
			n.copied++
			n.holdsH[i] = true
			step(model.Person, n, "a person copies H to the target of %s", name)
		}
	}
	if !s.freed && (s.phase[0] == lost || s.phase[1] == lost) {
		n := s
		n.freed = true
		step(model.Person, n, "people let the loser replace H")
	}
}

// gateUnderWay: between the gate's read and the delete, a copy is open by nature.
func (s state) gateUnderWay() bool {
	return s.phase[0] == gateBoth || s.phase[1] == gateBoth || s.phase[0] == gateOwn || s.phase[1] == gateOwn
}

func policy(i int) string { return string(rune('P' + i)) }

// afterCrash is the phase that a policy's rows alone show: memory is gone, commits stay.
func afterCrash(s state, i int) phase {
	switch p := s.phase[i]; {
	case p <= unclaimed || p == lost:
		return start
	case p == gateOwn || p == gateBoth:
		return retiring
	default:
		return p
	}
}

// contact: read the target, look at the journal, adopt.
func contact(r rules, s state, i int, step model.Step[state]) {
	other := 1 - i
	n := s
	switch s.phase[i] {
	case start:
		if s.holdsH[i] {
			n.phase[i] = read
			step(model.Program, n, "%s reads H in its target", policy(i))
			return
		}
		n.phase[i] = done
		step(model.Program, n, "%s reads its target, which does not hold H", policy(i))
	case read:
		n.sight[i] = true
		if n.phase[i] = unclaimed; s.owner[other] {
			n.lose(r, i)
		}
		step(model.Program, n, "%s commits what it read and looks whether H is adopted", policy(i))
	case unclaimed:
		if s.owner[other] && r.OneAdopts {
			n.lose(r, i)
			step(model.Program, n, "%s cannot commit: H is adopted elsewhere", policy(i))
			return
		}
		n.phase[i], n.owner[i] = claimed, true
		step(model.Program, n, "%s adopts H", policy(i))
	}
}

func (s *state) lose(r rules, i int) {
	s.phase[i] = lost
	if !r.LoserKeepsItsRow {
		s.row[i], s.sight[i] = false, false
	}
}

// retire: put a key of its own into the target, then take H through the gate.
func retire(r rules, s state, i int, step model.Step[state]) {
	other := 1 - i
	n := s
	switch s.phase[i] {
	case claimed, lost:
		if s.phase[i] == lost && r.ForeignIsNotReplaced && !s.freed {
			return
		}
		n.phase[i], n.holdsH[i], n.sight[i] = promoted, false, false
		step(model.Program, n, "%s writes its own key", policy(i))
	case promoted:
		if n.phase[i] = retiring; !s.owner[i] {
			n.phase[i] = done
		}
		step(model.Program, n, "%s: its own key is live", policy(i))
	case retiring:
		if !s.holdsH[i] && !s.sight[other] {
			n.phase[i] = gateOwn
			step(model.Program, n, "%s: the gate finds no sighting of H, and no H in its own target", policy(i))
		}
	case gateOwn:
		// A sighting may have come since: the journal is asked again with the read of the other target.
		if r.GateReadsTheOther && s.row[other] && s.holdsH[other] || s.sight[other] {
			n.phase[i] = retiring
			step(model.Program, n, "%s: the gate finds H in the other target", policy(i))
			return
		}
		n.phase[i] = gateBoth
		step(model.Program, n, "%s: the gate finds no H in the other target", policy(i))
	case gateBoth:
		n.phase[i], n.gone = done, true
		step(model.Program, n, "%s: H is destroyed", policy(i))
	}
}
