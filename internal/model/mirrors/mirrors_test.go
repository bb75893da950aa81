// Package mirrors models places that are written after the promote and cannot be read back.
//
// In it: three keys that become live one after the other; one mirror; writes that are acknowledged, lost or land late. When may
// an older key be destroyed?
// Left out: targets that can be read.
package mirrors

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	HoldsAllSinceSettledWrite bool // a mirror counts as holding every key written since the last settled acknowledgment
	SettledMeansNoneCanLand   bool // an acknowledgment settles only if its write was intended when no other could land
	UnknownWriteOwesRewrite   bool // after an unknown write is quiet, the live key is written again
}

const keys = 3

type write struct {
	used, underWay bool
	key            uint8
}

type state struct {
	live     uint8
	holds    uint8      // what the mirror truly holds
	mayHold  [keys]bool // what the journal must assume that it holds
	unknown  [3]write   // writes of unknown outcome that are not quiet
	owed     bool       // a write of the live key is owed
	gone     [keys]bool
	attempts uint8
}

const maxAttempts = 5

func (s state) canLand() bool {
	return s.unknown[0].used || s.unknown[1].used || s.unknown[2].used
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{mayHold: [keys]bool{true}}},
		Next: func(s state, step model.Step[state]) {
			late(r, s, step)
			writeMirror(r, s, step)
			for k := range s.gone {
				if k < int(s.live) && !s.gone[k] && !(r.HoldsAllSinceSettledWrite && s.mayHold[k]) {
					n := s
					n.gone[k] = true
					step(model.Program, n, "key %d is destroyed", k)
				}
			}
		},
		Broken: func(_ state, _ model.Actor, s state) string {
			if s.gone[s.holds] {
				return "the mirror holds a destroyed key"
			}
			return ""
		},
		Owed: func(s state) string {
			switch {
			case s.attempts == maxAttempts || s.live < keys-1:
				return "" // the model ran out of writes, not the engine
			case s.holds != s.live:
				return "the mirror holds an old key"
			case !s.gone[0] || !s.gone[1]:
				return "an old key is never destroyed"
			}
			return ""
		},
	}
}

// late: writes of unknown outcome land, or become quiet.
func late(r rules, s state, step model.Step[state]) {
	for i, w := range s.unknown {
		n := s
		switch {
		case w.underWay:
			n.holds, n.unknown[i].underWay = w.key, false
			step(model.World, n, "the write of key %d lands late", w.key)
		case w.used:
			n.unknown[i] = write{}
			n.owed = n.owed || r.UnknownWriteOwesRewrite
			step(model.World, n, "the write of key %d is quiet", w.key)
		}
	}
}

// writeMirror: a key becomes live and the mirror is written.
func writeMirror(r rules, s state, step model.Step[state]) {
	if s.live < keys-1 {
		n := s
		n.live++
		n.owed = true
		step(model.Program, n, "key %d is live", n.live)
	}
	if !s.owed || s.attempts == maxAttempts {
		return
	}
	n := s
	n.attempts++
	n.owed, n.mayHold[s.live] = false, true
	acked := n
	acked.holds = s.live
	if !s.canLand() || !r.SettledMeansNoneCanLand {
		acked.mayHold = [keys]bool{}
		acked.mayHold[s.live] = true
	}
	step(model.Program, acked, "the mirror is written with key %d: acknowledged", s.live)
	for i, w := range s.unknown {
		if w.used || n.attempts == maxAttempts { // the last one is always acknowledged
			continue
		}
		lost := n
		lost.unknown[i] = write{used: true, key: s.live}
		step(model.Program, lost, "the mirror is written with key %d: lost", s.live)
		lost.unknown[i].underWay = true
		step(model.Program, lost, "the mirror is written with key %d: no answer", s.live)
		break
	}
}

func TestMirrors(t *testing.T) {
	t.Parallel()
	model.Check(t, []model.Scenario[rules, state]{{Name: "three keys, five writes", Model: build, Needs: model.Needs{
		"HoldsAllSinceSettledWrite": "the mirror holds a destroyed key",
		"SettledMeansNoneCanLand":   "the mirror holds a destroyed key",
		"UnknownWriteOwesRewrite":   "stuck: the mirror holds an old key",
	}}})
}
