package clone

import "rotator/internal/model"

// lostRules are those of a journal that lost its last commits. The journal says that key 1 is live and key 0 retiring. In truth people
// rolled back to key 0: that promote is under way, or key 0 is in the target and key 1's delete is under way or was never sent.
type lostRules struct {
	UnexplainedKeyReconciles bool // a key of ours that is where no effect explains it starts reconcile mode
	WaitsForLostEffects      bool // reconcile mode ends only when effects of lost rows can no longer land
	ReconcileConcludes       bool // it ends with the key that is in every target and proves itself as the live one
}

type lost struct {
	holds       uint8
	deleting    bool // the lost delete of key 1 is under way
	promoting   bool // the lost promote of key 0 is under way
	gone        [2]bool
	live        uint8 // as the journal says
	reconciling bool
	concluded   bool
}

func lostModel(restored bool) func(lostRules) model.Model[lost] {
	return func(r lostRules) model.Model[lost] {
		start := []lost{{live: 1, deleting: true, reconciling: restored}, {live: 1, reconciling: restored}}
		if restored { // where no one says so and all looks well, nothing can tell: open by nature
			start = append(start, lost{holds: 1, live: 1, promoting: true, reconciling: true})
		}
		return model.Model[lost]{
			Start: start,
			Next:  func(s lost, step model.Step[lost]) { lostNext(r, s, step) },
			Broken: func(_ lost, _ model.Actor, s lost) string {
				if s.gone[s.holds] {
					return "the target holds a deleted key"
				}
				return ""
			},
			Owed: func(s lost) string {
				if s.reconciling {
					return "reconcile mode never ends"
				}
				return ""
			},
		}
	}
}

func lostNext(r lostRules, s lost, step model.Step[lost]) {
	n := s
	if s.deleting {
		n := s
		n.deleting, n.gone[1] = false, true
		step(model.World, n, "the lost delete of key 1 lands")
	}
	if s.promoting {
		n := s
		n.promoting, n.holds = false, 0
		step(model.World, n, "the lost promote of key 0 lands")
	}
	switch {
	case s.reconciling && (s.deleting || s.promoting) && r.WaitsForLostEffects:
	case s.reconciling && (s.holds == s.live || r.ReconcileConcludes):
		n.reconciling, n.concluded, n.live = false, true, s.holds
		step(model.Program, n, "reconcile mode ends: key %d is live", n.live)
	case s.reconciling:
	case r.UnexplainedKeyReconciles && s.holds != s.live && !s.concluded:
		n.reconciling = true
		step(model.Program, n, "key %d is where no effect explains it: reconcile mode", s.holds)
	case s.holds != s.live && !s.gone[s.live]:
		n.holds = s.live
		step(model.Program, n, "heal rewrites key %d", s.live)
	case s.holds == s.live && !s.gone[1-s.live]:
		n.gone[1-s.live] = true
		step(model.Program, n, "key %d is destroyed", 1-s.live)
	}
}
