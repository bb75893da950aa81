// Package creates models a create whose answer is lost, and the search for its key by name.
//
// In it: two creates under names of their own, each acknowledged, refused, lost, or landing late; lists that lag; a process that dies
// before the value is staged; an xAI that cuts names short; a stranger's key that has the name cut short, or a name of its own. The
// promises: no key of ours is left that no row knows of, and no stranger's key is destroyed.
// Left out: staging, promotion, and evidence of absence (a deleted key is gone).
package creates

import "rotator/internal/model"

type rules struct {
	RowFirst           bool // the name is committed before the create is sent
	AskAgainAtQuiet    bool // a name that no list shows is asked for again when the create is quiet, before it counts as absent
	FreshIsNotMissing  bool // soon after an acknowledged create, a list that lacks the key says nothing; lists lag less than that
	ExactName          bool // a lost key is found by its exact name alone
	CutNameStops       bool // a listed name that is a proper prefix of ours stops creates and is told to people
	LostValueIsDeleted bool // a key whose value was lost before it was staged is deleted
}

// xaiKey is what xAI has of one create.
type xaiKey uint8

const (
	nothing xaiKey = iota
	underWay
	hidden // it exists, and no list shows it yet
	listed
	removed
)

// rowState is what the journal has of it.
type rowState uint8

const (
	noRow rowState = iota
	unknown
	quiet     // unknown, and it can no longer land
	candidate // known by id, its value in memory
	staged
	rejected
	absent
	deletedRow
)

type attempt struct {
	xai xaiKey
	row rowState
	cut bool // its name was cut short
}

type state struct {
	attempts     [2]attempt
	cuts         bool // xAI cuts names short
	stranger     bool // a key that is not ours has the name that ours would have when cut
	strangerGone bool
	told         bool // people were notified that names are cut
	deaths       uint8
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start:  []state{{}, {stranger: true}, {cuts: true}},
		Next:   func(s state, step model.Step[state]) { next(r, s, step) },
		Broken: broken,
		Owed:   owed,
	}
}

func (k xaiKey) exists() bool { return k == hidden || k == listed }

func broken(_ state, _ model.Actor, s state) string {
	for _, at := range s.attempts {
		forgotten := at.row == noRow || at.row == absent || at.row == deletedRow
		if forgotten && (at.xai.exists() || at.xai == underWay) {
			return "xAI has a key of ours that no row knows of"
		}
	}
	if s.strangerGone {
		return "a stranger's key is destroyed"
	}
	return ""
}

// owed: a key is staged or people were notified, and nothing that was lost is left.
func owed(s state) string {
	if s.told {
		return ""
	}
	for _, at := range s.attempts {
		if at.row == unknown || at.row == quiet || at.row == candidate || at.row == rejected {
			return "a key that was lost is left"
		}
	}
	if s.attempts[0].row != staged && s.attempts[1].row == noRow {
		return "no key is made"
	}
	return ""
}

func next(r rules, s state, step model.Step[state]) {
	for i := range s.attempts {
		worldSteps(s, i, step)
		search(r, s, i, step)
		finish(s, i, step)
	}
	first, second := s.attempts[0], s.attempts[1]
	if first.row == noRow && !s.told {
		create(r, s, 0, step)
	}
	lost := first.row == unknown || first.row > staged
	if lost && second.row == noRow && !s.told { // a lost key is not waited for
		create(r, s, 1, step)
	}
	for i, at := range s.attempts {
		if at.row == candidate && s.deaths == 0 {
			n := s
			n.deaths = 1
			if n.attempts[i].row = rejected; !r.LostValueIsDeleted {
				n.attempts[i].row = absent
			}
			step(model.World, n, "the process dies, and the value of key %d with it", i)
		}
	}
}

func create(r rules, s state, i int, step model.Step[state]) {
	n := s
	at := &n.attempts[i]
	at.cut = s.cuts
	if r.RowFirst {
		at.row = unknown
	}
	step(model.Program, n, "create %d: no answer, and it never lands", i)
	at.xai = underWay
	step(model.Program, n, "create %d: no answer", i)
	at.xai, at.row = hidden, candidate
	step(model.Program, n, "create %d: acknowledged", i)
	at.xai, at.row = nothing, absent
	step(model.Program, n, "create %d: refused", i)
}

func worldSteps(s state, i int, step model.Step[state]) {
	at := s.attempts[i]
	n := s
	switch {
	case at.xai == underWay:
		n.attempts[i].xai = hidden
		step(model.World, n, "create %d lands late", i)
	case at.xai == hidden:
		n.attempts[i].xai = listed
		step(model.World, n, "lists show key %d", i)
	case at.row == unknown: // the quarantine is longer than lists lag
		n.attempts[i].row = quiet
		step(model.World, n, "create %d is quiet", i)
	}
}

// search looks for a lost key in a list.
func search(r rules, s state, i int, step model.Step[state]) {
	at, n := s.attempts[i], s
	to := &n.attempts[i]
	if at.row == candidate && at.xai == hidden && !r.FreshIsNotMissing {
		to.row = absent
		step(model.Program, n, "the list lacks key %d: absent", i)
	}
	if at.row != unknown && at.row != quiet {
		return
	}
	prefix := at.xai == listed && at.cut || s.stranger
	switch {
	case at.xai == listed && !at.cut:
		to.row = rejected
		step(model.Program, n, "the list shows key %d by its name", i)
	case prefix && !r.ExactName:
		to.row = rejected
		n.strangerGone = s.stranger
		step(model.Program, n, "the list shows the beginning of name %d: taken for ours and deleted", i)
	case prefix && r.CutNameStops:
		n.told = true
		step(model.Program, n, "the list shows the beginning of name %d: creates stop and people are notified", i)
	case at.row == quiet || !r.AskAgainAtQuiet:
		to.row = absent
		step(model.Program, n, "no list shows name %d: absent", i)
	}
}

func finish(s state, i int, step model.Step[state]) {
	n := s
	at := &n.attempts[i]
	switch s.attempts[i].row {
	case candidate:
		at.row = staged
		step(model.Program, n, "key %d is staged", i)
	case rejected:
		if at.xai.exists() {
			at.row, at.xai = deletedRow, removed
			step(model.Program, n, "key %d is deleted", i)
		}
	}
}
