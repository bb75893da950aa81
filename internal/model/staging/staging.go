// Package staging models a new key's value that is kept beside a target until the key is live, so that a crash does not lose it.
//
// In it: one new key, the target's staging place, stages and unstages that are acknowledged, lost or land late; processes that die;
// a rotation that is aborted. The promises: nothing is staged at rest, and no value is staged that no row reports.
// Left out: what the rotation does with the key (see effects and commands). Unlike promotes, a stage may be repeated at any time.
package staging

import "rotator/internal/model"

type rules struct {
	IntentFirst          bool // the row of a stage is committed before the stage is sent
	StageOwesUnstage     bool // an aborted rotation owes an unstage, as a finished one does
	UnstageAgainAtQuiet  bool // after the last unknown stage is quiet, the unstage is repeated
	LostUnstageIsRetried bool // an unstage without an answer is sent again
	GoesOnFromStaging    bool // a new process goes on from the value that is staged
}

type state struct {
	staged   bool // the value is in the staging place
	inMemory bool // this process has the value
	late     bool // a stage is under way
	unknown  bool // a stage had no answer and is not quiet
	row      bool // a row reports a stage
	owed     bool // an unstage is owed
	over     bool // the rotation ended, live or aborted
	deaths   uint8
	stages   uint8
	lost     uint8 // unstages without an answer
}

const maxStages, maxDeaths, maxLost = 2, 2, 2

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{inMemory: true}},
		Next: func(s state, step model.Step[state]) {
			worldSteps(r, s, step)
			if !s.over {
				rotation(r, s, step)
			}
			unstage(r, s, step)
		},
		Broken: func(_ state, _ model.Actor, s state) string {
			if (s.staged || s.late) && !s.row {
				return "a value is staged and no row reports it"
			}
			return ""
		},
		Owed: func(s state) string {
			switch {
			case !s.over:
				return "the rotation never ends"
			case s.staged || s.late:
				return "a value stays staged"
			}
			return ""
		},
	}
}

func worldSteps(r rules, s state, step model.Step[state]) {
	n := s
	if s.late {
		n.late, n.staged = false, true
		step(model.World, n, "the stage lands late")
	} else if s.unknown {
		n.unknown = false
		n.owed = s.owed || s.over && r.UnstageAgainAtQuiet
		step(model.World, n, "the stage is quiet")
	}
	if s.deaths < maxDeaths && !s.over {
		n := s
		n.deaths, n.inMemory = s.deaths+1, false
		step(model.World, n, "the process dies")
	}
}

// rotation stages the value, and ends when that was acknowledged or seen; or it is aborted.
func rotation(r rules, s state, step model.Step[state]) {
	if s.inMemory && !s.staged && s.stages < maxStages {
		sendStage(r, s, step)
	}
	n := s
	n.over = true
	n.owed = r.StageOwesUnstage && s.row
	step(model.Person, n, "abort")
	if !s.staged && (!s.inMemory || s.stages == maxStages) {
		step(model.Program, n, "the value is lost: rotation aborted")
	}
	n.owed = true // a finished rotation has read its staged value back
	if s.staged && (s.inMemory || r.GoesOnFromStaging) {
		step(model.Program, n, "the key is live")
	}
}

func sendStage(r rules, s state, step model.Step[state]) {
	n := s
	n.row = n.row || r.IntentFirst
	n.stages++
	lost := n
	lost.unknown = true
	step(model.Program, lost, "stage: no answer, and it never lands")
	lost.late = true
	step(model.Program, lost, "stage: no answer")
	n.staged, n.row = true, true
	step(model.Program, n, "stage: acknowledged")
	if !r.IntentFirst && s.deaths < maxDeaths {
		n.row, n.inMemory, n.deaths = s.row, false, s.deaths+1
		step(model.World, n, "stage: it lands, and the process dies before it commits that")
	}
}

func unstage(r rules, s state, step model.Step[state]) {
	if !s.owed {
		return
	}
	n := s
	n.owed, n.staged = false, false
	step(model.Program, n, "unstage: acknowledged")
	if s.lost < maxLost {
		n.lost++
		n.owed, n.staged = r.LostUnstageIsRetried, s.staged
		step(model.Program, n, "unstage: no answer, and it never lands")
	}
}
