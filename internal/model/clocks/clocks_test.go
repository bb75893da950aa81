// Package clocks models who may say that an effect can no longer land, when the clocks by which that is judged may jump.
//
// In it: xAI's clock and the journal's, which start apart and may jump; one effect, intended at minute 0, that may land for 11
// minutes (the call limit of one minute and the quarantine of ten); a sender that sends late. All times are half minutes.
// Left out: what relies on the effect, and what the effect changes (see the model effects).
package clocks

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	BothClocks         bool // a deadline has passed only when both clocks say so; else xAI's alone is asked
	FromTheLaterClock  bool // a deadline is counted from the later of the two clocks at the intent; else from xAI's
	LimitCountsFromRow bool // the call limit counts from the intent; else from the send, half a minute later
	OldRowsAreNotSent  bool // a row older than 30 seconds is withdrawn; else a process that was stopped for 4 minutes sends it
}

type world struct {
	apart    []int8 // how far the journal's clock is ahead of xAI's at the start
	jumps    int8   // how often a clock may jump
	oneClock bool   // only one of the two jumps
}

const mayLand = 22 // half minutes after the intent

type state struct {
	real, xai, journal int8 // time since the intent, truly and by each clock
	due                int8
	jumps              int8
	xaiJumped          bool
	journalJumped      bool
	quiet              bool // the program said that the effect can no longer land
}

func build(w world) func(rules) model.Model[state] {
	return func(r rules) model.Model[state] {
		m := model.Model[state]{
			Next:   func(s state, step model.Step[state]) { next(r, w, s, step) },
			Broken: func(_ state, _ model.Actor, s state) string { return broken(r, s) },
		}
		for _, d := range w.apart {
			s := state{journal: d, due: mayLand}
			if r.FromTheLaterClock {
				s.due = max(s.xai, s.journal) + mayLand
			}
			m.Start = append(m.Start, s)
		}
		return m
	}
}

func next(r rules, w world, s state, step model.Step[state]) {
	if s.real < 2*mayLand {
		n := s
		n.real++
		n.xai++
		n.journal++
		step(model.World, n, "half a minute passes")
	}
	for _, d := range []int8{-20, -10, 10, 20} {
		if s.jumps >= w.jumps {
			break
		}
		if n := s; !w.oneClock || !s.journalJumped {
			n.xai, n.jumps, n.xaiJumped = n.xai+d, n.jumps+1, true
			step(model.World, n, "xAI's clock jumps by %d half minutes", d)
		}
		if n := s; !w.oneClock || !s.xaiJumped {
			n.journal, n.jumps, n.journalJumped = n.journal+d, n.jumps+1, true
			step(model.World, n, "the journal's clock jumps by %d half minutes", d)
		}
	}
	if s.xai >= s.due && (!r.BothClocks || s.journal >= s.due) {
		n := s
		n.quiet = true
		step(model.Program, n, "the effect is called quiet after %d half minutes", s.real)
	}
}

func broken(r rules, s state) string {
	lands := int8(mayLand)
	if !r.LimitCountsFromRow {
		lands++
	}
	if !r.OldRowsAreNotSent {
		lands += 8
	}
	if s.quiet && s.real < lands {
		return "called quiet while the effect may still land"
	}
	return ""
}

func TestClocks(t *testing.T) {
	t.Parallel()
	const early = "called quiet while the effect may still land"
	near, far := []int8{-10, 0, 10}, []int8{-60, -10, 0, 10, 60}
	model.Check(t, []model.Scenario[rules, state]{
		{Name: "one clock jumps once", Model: build(world{apart: near, jumps: 1}),
			Needs: model.Needs{"BothClocks": early, "FromTheLaterClock": early}},
		{Name: "one clock is half an hour off and jumps twice", Model: build(world{apart: far, jumps: 2, oneClock: true}),
			Needs: model.Needs{"BothClocks": early, "FromTheLaterClock": early}},
		{Name: "no clock jumps and the sender is late", Model: build(world{apart: near}),
			Needs: model.Needs{"LimitCountsFromRow": early, "OldRowsAreNotSent": early}},
		{Name: "both clocks jump together: open by nature", Model: build(world{apart: near, jumps: 2}), Open: early},
	})
}
