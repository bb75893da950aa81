// Package effects models changes that land late, get lost, or land without an answer.
//
// In it: two keys, one or two targets, one or two of xAI's clusters; rotations between the two keys (rotate and rollback); promotes,
// enables, disables and deletes, each of which is acknowledged, lost, or lands later; acknowledged enables and disables that have
// their effect later, cluster by cluster; stores with and without compare-and-swap and Fence; reads that lag behind writes; senders
// that are frozen. The promise: every value that a target holds is accepted by every cluster.
// Left out: creates, stages, other commands, healing, clocks (an effect is quiet when the world says so).
package effects

import (
	"slices"

	"rotator/internal/model"
)

type rules struct {
	DeleteIsOneWay            bool // no rotation goes to a key whose delete was intended
	GateReadsEveryTarget      bool // disable and delete read all targets, and all must hold the live key
	GateWaitsForPromotes      bool // no key is disabled or deleted while a promote of it may land
	OnlyCleanEnablesCount     bool // a disabled key is promoted only after an acknowledged enable, intended when no disable could land, is quiet
	RecentWritesOutweighReads bool // for two minutes after our acknowledged write, a read that shows another value is not known
}

type world struct {
	targets, clusters int
	compareAndSwap    bool // a write fails if the target was written after the read that it is based on
	fence             bool // the store can make every earlier write fail
	readsLag          bool
	frozen            kind // senders of this kind may send after their effect was taken for quiet
}

type keyState uint8

const (
	candidate keyState = iota
	promoting
	live
	retiring
	disabled
	deleting
	deleted
)

type kind uint8

const (
	none kind = iota
	promote
	disable
	enable
	destroy
)

var verbs = []string{"", "promote", "disable", "enable", "delete"}

// effect is a row of the journal. The row is removed when the effect is settled and quiet.
type effect struct {
	kind    kind
	key, at uint8
	flying  uint8 // where the message has yet to land: one bit for each cluster; for promote and delete, 1
	fits    bool  // its compare-and-swap token still fits
	acked   bool
	clean   bool // an enable that was intended when no disable could land
	closed  bool // the row is closed, but its frozen sender still sends
}

type state struct {
	on     [2]uint8 // the clusters that accept each key
	gone   [2]bool
	value  [2]uint8 // what each target holds
	shown  [2]uint8 // what a read of each target shows
	recent [2]uint8 // the key that we wrote there within two minutes, acknowledged, plus 1
	keys   [2]keyState
	owes   [2]bool // the key was disabled: it owes a clean enable
	want   uint8   // the key that the rotation in flight promotes, plus 1
	begun  uint8   // rotations so far
	rows   [4]effect
}

const maxRotations = 3

// machine is the model under one set of rules in one world.
type machine struct {
	rules
	world
}

func build(w world) func(rules) model.Model[state] {
	return func(r rules) model.Model[state] {
		m := machine{r, w}
		everywhere := m.everywhere()
		return model.Model[state]{
			Start:  []state{{on: [2]uint8{everywhere, everywhere}, keys: [2]keyState{live, candidate}}},
			Next:   m.next,
			Broken: m.broken,
		}
	}
}

func (m machine) everywhere() uint8 { return 1<<m.clusters - 1 }

func (m machine) broken(_ state, _ model.Actor, s state) string {
	for t := range m.targets {
		if s.on[s.value[t]] != m.everywhere() {
			return "a target holds key " + string('0'+rune(s.value[t])) + ", which a cluster does not accept"
		}
	}
	return ""
}

// row reports whether an effect of this kind may still land. A negative key or target means any.
func (s state) row(kind kind, key, at int) bool {
	return slices.ContainsFunc(s.rows[:], func(e effect) bool {
		return e.kind == kind && !e.closed && (key < 0 || int(e.key) == key) && (at < 0 || int(e.at) == at)
	})
}

func (s state) live() int { return slices.Index(s.keys[:], live) }

// sorted puts the rows, which are a set, into one order, so that equal states compare equal.
func (s state) sorted() state {
	slices.SortFunc(s.rows[:], func(a, b effect) int { return b.number() - a.number() })
	return s
}

func (e effect) number() int {
	n := int(e.kind)<<12 | int(e.key)<<11 | int(e.at)<<10 | int(e.flying)<<4
	for i, b := range []bool{e.fits, e.acked, e.clean, e.closed} {
		if b {
			n |= 1 << i
		}
	}
	return n
}

// land lets an effect happen at the given clusters.
func (m machine) land(s *state, e effect, where uint8) {
	switch e.kind {
	case promote:
		if e.fits || !m.compareAndSwap {
			s.value[e.at] = e.key
			s.newVersion(e.at)
		}
	case disable:
		s.on[e.key] &^= where
	case enable:
		if !s.gone[e.key] {
			s.on[e.key] |= where
		}
	case destroy:
		s.on[e.key], s.gone[e.key] = 0, true
	}
}

// newVersion makes the tokens of what is under way to the target no longer fit.
func (s *state) newVersion(target uint8) {
	for i, e := range s.rows {
		if e.kind == promote && e.at == target {
			s.rows[i].fits = false
		}
	}
}

// send emits what may become of an effect that was just intended.
func (m machine) send(s state, e effect, step model.Step[state]) {
	slot := slices.IndexFunc(s.rows[:], func(e effect) bool { return e.kind == none })
	if slot < 0 {
		return
	}
	emit := func(n state, row effect, how string) {
		n.rows[slot] = row
		step(model.Program, n.sorted(), "%s key %d at target %d: %s", verbs[e.kind], e.key, e.at, how)
	}
	emit(s, e, "no answer, and it never lands")
	flying := e
	flying.flying = 1
	if e.kind == enable || e.kind == disable {
		flying.flying = m.everywhere()
	}
	emit(s, flying, "no answer")
	if e.kind == enable || e.kind == disable { // the row stays until it is quiet: clusters learn late
		acked := flying
		acked.acked = true
		emit(s, acked, "acknowledged, to land later")
		n := s
		m.land(&n, e, flying.flying)
		e.acked = true
		emit(n, e, "acknowledged")
		return
	}
	n := s
	m.land(&n, e, 1)
	if e.kind == promote && m.readsLag {
		n.recent[e.at] = e.key + 1
		emit(n, effect{}, "acknowledged, reads lag")
	}
	if e.kind == promote {
		n.shown[e.at] = e.key
	}
	emit(n, effect{}, "acknowledged")
}
