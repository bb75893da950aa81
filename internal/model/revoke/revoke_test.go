// Package revoke models the kill switch: a key that must stop working now, whatever reads it.
//
// In it: one key that is on, or off with an enable under way that a rollback sent; a person who revokes it; disables that are
// acknowledged, lost, land late or are refused; heal and a rotation, which would enable the key. The promises: a revoked key
// ends off or gone, and nothing enables it after it was revoked.
// Left out: lost and late deletes, false alarms, what consumers read (an outage was accepted), other keys.
package revoke

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	CorrectedAtQuiet     bool // when a contrary effect is quiet, the key is asked for again and corrected
	RefusedMeansDelete   bool // a key whose disable is refused is deleted
	RevokedIsNotEnabled  bool // nothing enables a compromised key: neither heal nor a rotation that wanted it
	NeedsNoLiveSuccessor bool // revoke asks neither for another live key nor for what targets hold
}

type state struct {
	on, gone       bool
	revoked        bool
	seenOff        bool // the journal says that it is off
	enabling       bool // an enable is under way
	enableOpen     bool // an enable is not quiet
	disabling      bool // a disable is under way
	disableOpen    bool
	refusesDisable bool
	otherLive      bool // another key is live
	enables, lost  uint8
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{on: true}, {enabling: true, enableOpen: true}, {on: true, refusesDisable: true}, {on: true, otherLive: true}},
		Next: func(s state, step model.Step[state]) {
			landings(r, s, step)
			if !s.revoked {
				n := s
				n.revoked = true
				step(model.Person, n, "revoke --accept-outage")
			}
			if !s.gone {
				enable(r, s, step)
			}
			if s.revoked && !s.gone && (r.NeedsNoLiveSuccessor || s.otherLive) {
				end(r, s, step)
			}
		},
		Broken: func(a state, by model.Actor, b state) string {
			if by == model.Program && a.revoked && b.enables > a.enables {
				return "a revoked key is enabled"
			}
			return ""
		},
		Owed: func(s state) string {
			switch {
			case !s.revoked || s.gone:
				return ""
			case s.on || s.enabling:
				return "a revoked key works"
			}
			return ""
		},
	}
}

// landings: effects land late or become quiet.
func landings(r rules, s state, step model.Step[state]) {
	n := s
	if s.enabling {
		n.enabling, n.on = false, !s.gone
		step(model.World, n, "the enable lands late")
	} else if s.enableOpen {
		n.enableOpen = false
		n.seenOff = s.seenOff && !(r.CorrectedAtQuiet && s.on)
		step(model.World, n, "the enable is quiet")
	}
	n = s
	if s.disabling {
		n.disabling, n.on = false, false
		step(model.World, n, "the disable lands late")
	} else if s.disableOpen {
		n.disableOpen = false
		n.seenOff = s.seenOff && !(r.CorrectedAtQuiet && s.on)
		step(model.World, n, "the disable is quiet")
	}
}

// enable: a rollback or heal wants the key on.
func enable(r rules, s state, step model.Step[state]) {
	if s.on || s.enables == 1 || s.enableOpen || s.revoked && r.RevokedIsNotEnabled {
		return
	}
	n := s
	n.enables++
	n.enabling, n.enableOpen = true, true
	step(model.Program, n, "a rotation enables the key: no answer")
	n.enabling, n.on = false, true
	step(model.Program, n, "a rotation enables the key: acknowledged")
}

// end disables the key, or deletes it.
func end(r rules, s state, step model.Step[state]) {
	n := s
	if !s.on && !s.seenOff {
		n.seenOff = true
		step(model.Program, n, "the key is seen off")
		return
	}
	if s.seenOff || s.disableOpen {
		return
	}
	n = s
	if s.refusesDisable {
		if r.RefusedMeansDelete {
			n.gone, n.on = true, false
			step(model.Program, n, "the disable is refused: the key is deleted")
		}
		return
	}
	n.disableOpen = true
	acked := n
	acked.on = false
	step(model.Program, acked, "disable: acknowledged")
	acked.on, acked.disabling = s.on, true
	step(model.Program, acked, "disable: acknowledged, to land later")
	if s.lost == 0 {
		n.lost++
		step(model.Program, n, "disable: no answer, and it never lands")
		acked.lost, acked.disabling = 1, false
		step(model.Program, acked, "disable: acknowledged, and it never lands")
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	const works = "stuck: a revoked key works"
	model.Check(t, []model.Scenario[rules, state]{{Name: "one key", Model: build, Needs: model.Needs{
		"CorrectedAtQuiet":     works,
		"RefusedMeansDelete":   works,
		"RevokedIsNotEnabled":  "a revoked key is enabled",
		"NeedsNoLiveSuccessor": works,
	}}})
}
