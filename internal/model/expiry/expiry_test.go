// Package expiry models keys that expire while people roll back and hold.
//
// In it: a replaced key, the live key and the new key that a rotation makes, with their days left; rollbacks, which hold further
// rotations; the hold of everything. No one may read an expired key without having been told in time.
// Left out: how a rotation is done, and keys whose expiry xAI states wrongly.
package expiry

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	ExpiryWinsOverRotationsHold bool // a live key that is due for its expiry is rotated although a rollback holds rotations
	ToldUnderHoldOfAll          bool // under a hold of everything it is action_required from the day on which the key is due
}

const (
	replaced = iota
	successor
	newKey
)

const dueDays = 2 // a key is due this many days before it expires

type state struct {
	live          uint8
	left          [3]int8 // days until each key expires
	heldRotations bool
	heldAll       bool
	commands      uint8
	told          bool
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{live: successor, left: [3]int8{1, 5, 9}}, {live: successor, left: [3]int8{4, 5, 9}}},
		Next:  func(s state, step model.Step[state]) { next(r, s, step) },
		Broken: func(_ state, _ model.Actor, s state) string {
			if s.left[s.live] == 0 && !s.told {
				return "the live key expires and nobody was told"
			}
			return ""
		},
	}
}

func next(r rules, s state, step model.Step[state]) {
	due := s.left[s.live] <= dueDays
	blocked := s.heldAll || s.heldRotations && !r.ExpiryWinsOverRotationsHold
	if due && !blocked && s.live != newKey { // the scheduler is awake: no day passes before
		n := s
		n.live = newKey
		step(model.Program, n, "a new key is live")
		return
	}
	if due && s.heldAll && r.ToldUnderHoldOfAll && !s.told {
		n := s
		n.told = true
		step(model.Program, n, "action required: the live key expires and a hold forbids its rotation")
		return
	}
	if s.live != newKey {
		n := s
		for _, k := range []int{replaced, successor} {
			n.left[k] = max(0, n.left[k]-1)
		}
		step(model.World, n, "a day passes")
	}
	if s.commands == 2 {
		return
	}
	n := s
	n.commands++
	if s.live == successor && s.left[replaced] > 0 {
		n := n
		n.live, n.heldRotations = replaced, true
		step(model.Person, n, "rollback to the replaced key, which has %d days left", s.left[replaced])
	}
	n.heldAll = true
	step(model.Person, n, "hold")
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	const expired = "the live key expires and nobody was told"
	model.Check(t, []model.Scenario[rules, state]{{Name: "two commands", Model: build, Needs: model.Needs{
		"ExpiryWinsOverRotationsHold": expired, "ToldUnderHoldOfAll": expired,
	}}})
}
