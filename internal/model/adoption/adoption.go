// Package adoption models a hand-made key that two policies read, of which one adopts it.
//
// In it: policies P and Q; target 1 of P and target 2 of Q, which both hold the hand-made key H at first; P adopts H, makes a new key
// live and retires H. Reads of target 2 may fail, or find nothing for a moment. People remove target 2 from Q and name it again,
// forget it, overwrite it, copy H to it, and pass over a target that cannot be read. The promise: H is not destroyed while target 2
// holds it, unless people forgot the target or passed over its silence.
// Left out: effects that land late (see effects), and two policies that adopt at the same moment (see race).
package adoption

import "rotator/internal/model"

type rules struct {
	RowsAtLoad                   bool // a policy's targets get their rows when it is loaded; else at the first read that works
	EmptyReadIsNoAbsence         bool // a target whose every read found nothing counts as never read
	DespitePassesOverSilenceOnly bool // a human's word to pass over a target does not outweigh a sighting
	GateReadsEveryPolicysTargets bool // for an adopted key, every target of every policy is read at the gate
}

type world struct {
	copies bool // people copy H to target 2
}

// seen is what the journal knows of target 2.
type seen uint8

const (
	noRow     seen = iota // policy Q is not loaded yet
	neverRead             // its row is there
	readEmpty             // every read found nothing
	sighted               // a sighting of H
	other                 // a sighting of another value, none of H
	forgotten
)

// answer is how target 2 answers reads.
type answer uint8

const (
	well answer = iota
	empty
	failing
)

// progress is how far policy P got.
type progress uint8

const (
	fresh progress = iota
	firstContact
	adopted
	successorLive
	destroyed
)

type state struct {
	p        progress
	seen     seen
	adoptedQ bool // Q adopted H
	holdsH   bool // target 2 truly holds H
	answers  answer
	moods    uint8 // changes of answers so far
	commands uint8
	despite  bool // a human said to pass over target 2
	named    bool // policy Q names target 2
	loaded   bool // policy Q was loaded
}

const limit = 3 // of moods and of commands

type machine struct {
	rules
	world
}

func build(w world) func(rules) model.Model[state] {
	return func(r rules) model.Model[state] {
		m := machine{r, w}
		return model.Model[state]{Start: []state{{holdsH: true}, {}}, Next: m.next, Broken: broken, Owed: owed}
	}
}

func broken(a state, _ model.Actor, b state) string {
	allowed := b.seen == forgotten || !b.loaded || b.despite && b.seen != sighted
	if a.p != destroyed && b.p == destroyed && b.holdsH && !allowed {
		return "H is destroyed while target 2 holds it"
	}
	return ""
}

// owed: H is destroyed in the end, or there is a reason that people are notified of.
func owed(s state) string {
	told := s.seen != other && s.seen != forgotten || s.answers != well || s.adoptedQ
	if s.p == destroyed || told {
		return ""
	}
	return "H stays and nobody is told"
}

func (m machine) next(s state, step model.Step[state]) {
	for a, what := range []string{"target 2 answers well", "target 2 reads empty for a moment", "target 2 fails"} {
		if s.moods < limit && answer(a) != s.answers {
			n := s
			n.answers, n.moods = answer(a), s.moods+1
			step(model.World, n, "%s", what)
		}
	}
	m.policyQ(s, step)
	m.policyP(s, step)
	if s.commands < limit {
		m.people(s, step)
	}
}

// read is what the journal knows of target 2 after a read.
func (s state) read() seen {
	switch {
	case s.answers == failing:
		return s.seen
	case s.answers == empty && (s.seen == neverRead || s.seen == noRow):
		return readEmpty
	case s.answers == empty:
		return s.seen // a sighting ends by two empty reads 24 hours apart, not by one
	case s.holdsH:
		return sighted
	}
	return other
}

func (m machine) policyQ(s state, step model.Step[state]) {
	n := s
	switch s.seen {
	case noRow:
		n.seen, n.named, n.loaded = neverRead, true, true
		if !m.RowsAtLoad {
			n.seen = s.read()
		}
		if s.p < successorLive || s.loaded { // a place that no policy names when the gate opens is open by nature
			step(model.Program, n, "policy Q is loaded")
		}
	case forgotten:
	default:
		n.seen = s.read()
		step(model.Program, n, "Q reads target 2")
		if s.seen == sighted && s.p < adopted {
			n := s
			n.adoptedQ = true
			step(model.Program, n, "Q adopts H")
		}
	}
}

func (m machine) policyP(s state, step model.Step[state]) {
	n := s
	n.p++
	switch s.p {
	case fresh:
		step(model.Program, n, "P's first contact")
	case firstContact:
		if !s.adoptedQ {
			step(model.Program, n, "P adopts H")
		}
	case adopted:
		step(model.Program, n, "a new key of P is live, H is retiring")
	case successorLive:
		if m.gateOpen(s) {
			step(model.Program, n, "P's gate opens: H is destroyed")
		}
	}
}

func (m machine) gateOpen(s state) bool {
	passedOver := s.despite && !(s.seen == sighted && m.DespitePassesOverSilenceOnly)
	if s.seen == noRow || s.seen == forgotten {
		return true
	}
	unread := s.seen == neverRead || s.seen == readEmpty && m.EmptyReadIsNoAbsence
	if (unread || s.seen == sighted) && !passedOver {
		return false
	}
	if !m.GateReadsEveryPolicysTargets {
		return true
	}
	switch s.answers { // the fresh read
	case failing:
		return passedOver
	case empty:
		return passedOver || !m.EmptyReadIsNoAbsence
	}
	return !s.holdsH || s.despite && !m.DespitePassesOverSilenceOnly
}

func (m machine) people(s state, step model.Step[state]) {
	n := s
	n.commands++
	if s.seen != noRow && s.seen != forgotten {
		n := n
		n.named = !s.named
		step(model.Person, n, "Q's file is edited: names target 2: %t", n.named)
		n.named, n.seen = s.named, forgotten
		step(model.Person, n, "forget target 2")
	}
	if s.holdsH && s.seen != noRow {
		n := n
		n.holdsH = false
		step(model.Person, n, "another value is put into target 2")
	}
	if !s.holdsH && m.copies {
		n := n
		n.holdsH = true
		step(model.Person, n, "a person copies H to target 2")
	}
	if !s.despite && s.p >= adopted {
		n := n
		n.despite = true
		step(model.Person, n, "resolve P --key H --despite target 2")
	}
}
