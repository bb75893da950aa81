// Package clone models one journal that runs twice, and one that lost its last commits.
//
// In it: a cloned machine (installations A and B with the same rows and the same management key), with one target that both write
// or a target for each; new keys, rollbacks, deletes that are under way; `state claim`, as moved and as a copy. In lost.go: a journal
// restored from before a rollback and a delete.
// Left out: effects that land late, other than the delete.
package clone

import "rotator/internal/model"

type rules struct {
	OtherInstallationWaits bool // a journal that ran elsewhere last time waits for `state claim`
	CopyLetsKeysGo         bool // a claim as a copy forgets every key of the original
}

type world struct {
	apart     bool // each installation has a target of its own, like a copy for staging
	claimed   bool // a person claims the journal for B, as a copy
	moved     bool // a person claims the journal for B, as moved, while A still runs
	rollbacks bool
}

// keyState is what one installation believes of key 0, which was replaced, or key 1, which is live.
type keyState uint8

const (
	live keyState = iota
	retiring
	gateOpened // the delete is about to leave
	letGo      // deleted, or forgotten
)

type installation struct {
	keys    [2]keyState
	newKey  bool  // it made a key of its own: 2 for A, 3 for B
	newLive bool  // which is live
	rotates uint8 // the key that the rotation in flight promotes, plus 1
	waits   bool  // for `state claim`
}

type state struct {
	in       [2]installation
	holds    [2]uint8 // what each target holds
	gone     [2]bool
	commands uint8
}

const maxCommands = 3

type machine struct {
	rules
	world
}

func build(w world) func(rules) model.Model[state] {
	return func(r rules) model.Model[state] {
		s := state{holds: [2]uint8{1, 1}}
		for i := range s.in {
			s.in[i].keys = [2]keyState{retiring, live}
		}
		s.in[1].waits = r.OtherInstallationWaits
		m := machine{r, w}
		return model.Model[state]{Start: []state{s}, Next: m.next, Broken: broken}
	}
}

// broken looks at the original's target: what else holds a copied key is for people to know.
func broken(_ state, _ model.Actor, s state) string {
	if s.holds[0] < 2 && s.gone[s.holds[0]] {
		return "the original's target holds a deleted key"
	}
	return ""
}

func (m machine) next(s state, step model.Step[state]) {
	for i, in := range s.in {
		m.deletes(s, i, step)
		if s.commands < maxCommands {
			m.people(s, i, step)
		}
		if !in.waits {
			m.rotate(s, i, step)
			m.gate(s, i, step)
		}
	}
}

func name(i int) string { return string(rune('A' + i)) }

// target is the target that installation i writes.
func (m machine) target(i int) int {
	if m.apart {
		return i
	}
	return 0
}

func (m machine) deletes(s state, i int, step model.Step[state]) {
	for k, st := range s.in[i].keys {
		if st == gateOpened {
			n := s
			n.gone[k], n.in[i].keys[k] = true, letGo
			step(model.World, n, "%s: the delete of key %d lands", name(i), k)
		}
	}
}

func (m machine) people(s state, i int, step model.Step[state]) {
	in := s.in[i]
	n := s
	n.commands++
	me := &n.in[i]
	if in.waits {
		me.waits = false
		if m.moved {
			step(model.Person, n, "%s: state claim --moved, and the other installation still runs", name(i))
		}
		if m.CopyLetsKeysGo {
			me.keys = [2]keyState{letGo, letGo}
		}
		if m.claimed {
			step(model.Person, n, "%s: state claim --copy", name(i))
		}
		return
	}
	if in.rotates != 0 {
		return
	}
	for k, st := range in.keys {
		if st == retiring && m.rollbacks {
			me.rotates = uint8(k) + 1
			step(model.Person, n, "%s: rollback to key %d", name(i), k)
		}
	}
	if !in.newKey {
		me.newKey, me.rotates = true, uint8(2+i)+1
		step(model.Person, n, "%s: rotate", name(i))
	}
}

func (m machine) rotate(s state, i int, step model.Step[state]) {
	if s.in[i].rotates == 0 {
		return
	}
	k, t, n := s.in[i].rotates-1, m.target(i), s
	if k < 2 && s.gone[k] {
		return // it does not prove itself
	}
	if s.holds[t] != k {
		n.holds[t] = k
		step(model.Program, n, "%s: promote key %d", name(i), k)
		return
	}
	me := &n.in[i]
	for other := range me.keys {
		if me.keys[other] == live {
			me.keys[other] = retiring
		}
	}
	if k < 2 {
		me.keys[k] = live
	}
	me.newLive, me.rotates = k >= 2, 0
	step(model.Program, n, "%s: key %d is live", name(i), k)
}

// gate opens for a retiring key when the key that this installation calls live is in its target.
func (m machine) gate(s state, i int, step model.Step[state]) {
	in, holds := s.in[i], s.holds[m.target(i)]
	if holds < 2 && in.keys[holds] != live || holds >= 2 && !(in.newLive && holds == uint8(2+i)) {
		return
	}
	for k, st := range in.keys {
		if st == retiring && int(in.rotates) != k+1 {
			n := s
			n.in[i].keys[k] = gateOpened
			step(model.Program, n, "%s: the gate for key %d opens", name(i), k)
		}
	}
}
