// Package places models two policies that name one place of a store under two names, such as the name and the ARN of one secret.
//
// In it: policies P and Q; one place or two; a store that cannot say for a moment which place a name is; each policy's own key, which
// it writes whenever the place holds another value. The promises: one place has one writer, and both policies come to rest or people
// are told; two places are not taken for one.
// Left out: what the two policies do with their old keys: with one writer, the gate of each is right (see adoption and race).
package places

import (
	"testing"

	"rotator/internal/model"
)

type rules struct {
	PlacesAreCompared bool // targets are compared by the place that the store names, not by what the policy calls them
	UnknownPlaceWaits bool // a target whose place is not known is not written
	PlaceIsUnique     bool // the journal takes a place once: of two policies that find it free at the same moment, the second is refused
	RefusedIsTold     bool // the policy that is refused says so; it does not wait in silence
}

type phase uint8

const (
	fresh   phase = iota
	unknown       // the store could not say which place it is
	looked        // the place was found free, the row is not committed
	writer
	refused
)

type target struct {
	phase phase
	named bool // the store said which place it is
	told  bool
}

type state struct {
	one     bool // both names are one place
	blind   bool // the store cannot say which place a name is
	outages uint8
	in      [2]target
	holds   [2]uint8 // whose key a place holds, plus 1; the second one only where there are two places
}

func build(r rules) model.Model[state] {
	return model.Model[state]{
		Start: []state{{one: true}, {}},
		Next: func(s state, step model.Step[state]) {
			if s.outages < 2 {
				n := s
				n.outages, n.blind = s.outages+1, !s.blind
				step(model.World, n, "the store can say what place a name is: %t", !n.blind)
			}
			for i := range s.in {
				next(r, s, i, step)
			}
		},
		Broken: func(_ state, _ model.Actor, s state) string {
			switch {
			case s.one && s.in[0].phase == writer && s.in[1].phase == writer:
				return "one place has two writers"
			case !s.one && (s.in[0].phase == refused || s.in[1].phase == refused):
				return "a place of its own is refused"
			}
			return ""
		},
		Owed: owed,
	}
}

func owed(s state) string {
	if s.blind {
		return "" // told: the target is unread
	}
	for i, in := range s.in {
		switch {
		case in.phase == refused && in.told || in.phase == writer && int(s.holds[s.place(i)]) == i+1:
		case in.phase == refused:
			return "a policy waits in silence"
		default:
			return "a policy never writes its target"
		}
	}
	return ""
}

// place is the index of the place that policy i's target is.
func (s state) place(i int) int {
	if s.one {
		return 0
	}
	return i
}

func next(r rules, s state, i int, step model.Step[state]) {
	name := string(rune('P' + i))
	other := s.in[1-i]
	n := s
	me := &n.in[i]
	switch s.in[i].phase {
	case fresh, unknown:
		me.phase, me.named = looked, r.PlacesAreCompared && !s.blind
		switch {
		case !me.named && r.PlacesAreCompared && r.UnknownPlaceWaits:
			me.phase = unknown
			step(model.Program, n, "%s: the store cannot say which place its target is", name)
		case me.named && other.named && other.phase == writer && s.one:
			me.phase, me.told = refused, r.RefusedIsTold
			step(model.Program, n, "%s: the place belongs to another policy", name)
		default:
			step(model.Program, n, "%s: no other policy is known to have this place", name)
		}
	case looked:
		if r.PlaceIsUnique && me.named && other.named && other.phase == writer && s.one {
			me.phase, me.told = refused, r.RefusedIsTold
			step(model.Program, n, "%s: cannot commit, the place is taken", name)
			return
		}
		me.phase = writer
		step(model.Program, n, "%s: commits that it writes the place", name)
	case writer:
		n.holds[s.place(i)] = uint8(i) + 1
		step(model.Program, n, "%s: writes its key", name)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	const two = "one place has two writers"
	model.Check(t, []model.Scenario[rules, state]{{Name: "two policies", Model: build, Needs: model.Needs{
		"PlacesAreCompared": two,
		"UnknownPlaceWaits": two,
		"PlaceIsUnique":     two,
		"RefusedIsTold":     "stuck: a policy waits in silence",
	}}})
}
