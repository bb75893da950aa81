package effects

import (
	"slices"

	"rotator/internal/model"
)

func (m machine) next(s state, step model.Step[state]) {
	for i := range s.rows {
		m.rowSteps(s, i, step)
	}
	m.readSteps(s, step)
	m.beginRotation(s, step)
	if s.want != 0 {
		m.rotate(s, step)
	}
	for k := range s.keys {
		m.retire(s, k, step)
	}
}

// rowSteps: a message lands, or an effect becomes quiet.
func (m machine) rowSteps(s state, i int, step model.Step[state]) {
	e := s.rows[i]
	if e.kind == none {
		return
	}
	for c := range m.clusters {
		bit := uint8(1) << c
		if e.flying&bit == 0 {
			continue
		}
		n := s
		n.rows[i].flying &^= bit
		m.land(&n, e, bit)
		if e.closed && n.rows[i].flying == 0 {
			n.rows[i] = effect{}
		}
		if e.kind == promote && !m.readsLag {
			n.shown = n.value
		}
		step(model.World, n.sorted(), "%s of key %d lands late (target %d, cluster %d)", verbs[e.kind], e.key, e.at, c)
	}
	if e.flying != 0 && e.kind == m.frozen && !e.closed && !(e.kind == promote && m.fence) {
		n := s
		n.rows[i].closed = true
		step(model.World, n.sorted(), "%s of key %d is taken for quiet, but its sender is frozen", verbs[e.kind], e.key)
	}
	if e.flying == 0 && e.kind != destroy && s.shown == s.value { // reads lag less than effects stay open
		n := s
		n.rows[i] = effect{}
		if e.clean && e.acked {
			n.owes[e.key] = false
		}
		step(model.World, n.sorted(), "%s of key %d is quiet", verbs[e.kind], e.key)
	}
}

func (m machine) readSteps(s state, step model.Step[state]) {
	for t := range s.value {
		n := s
		if s.shown[t] != s.value[t] {
			n.shown[t] = s.value[t]
			step(model.World, n, "reads of target %d catch up", t)
		} else if s.recent[t] != 0 {
			n.recent[t] = 0
			step(model.World, n, "two minutes pass since the write of target %d", t)
		}
	}
}

// read returns what the program may conclude from a read of target t.
func (m machine) read(s state, t int) (key uint8, known bool) {
	if m.RecentWritesOutweighReads && s.recent[t] != 0 && s.shown[t] != s.recent[t]-1 {
		return 0, false
	}
	return s.shown[t], true
}

// beginRotation: the schedule or a person wants another key to be live; a rotation under way is superseded.
func (m machine) beginRotation(s state, step model.Step[state]) {
	if s.begun == maxRotations || s.live() < 0 {
		return
	}
	for k, st := range s.keys {
		usable := st == candidate || st == retiring || st == disabled || st == live && s.want != 0 ||
			st == deleting && !m.DeleteIsOneWay
		if !usable || int(s.want) == k+1 {
			continue
		}
		n := s
		if s.want != 0 && s.keys[s.want-1] == promoting {
			n.keys[s.want-1] = retiring
		}
		if st != live {
			n.keys[k] = promoting
		}
		n.want, n.begun = uint8(k)+1, s.begun+1
		step(model.Person, n, "a rotation to key %d begins", k)
	}
}

// rotate goes on with the rotation in flight: enable, promote at each target, make live.
func (m machine) rotate(s state, step model.Step[state]) {
	k := int(s.want) - 1
	mayBeDisabled := s.row(disable, k, -1)
	if !s.row(enable, k, -1) && !s.gone[k] && (s.on[k] != m.everywhere() || m.OnlyCleanEnablesCount && s.owes[k] && !mayBeDisabled) {
		m.send(s, effect{kind: enable, key: uint8(k), clean: !mayBeDisabled}, step)
	}
	ready := s.on[k] != 0 && !(m.OnlyCleanEnablesCount && s.owes[k]) // the proof reaches some cluster, not all
	done := ready
	for t := range m.targets {
		unsettled := m.fence && s.row(promote, -1, t)
		if unsettled {
			m.fenceTarget(s, t, step)
		}
		value, known := m.read(s, t)
		if known && int(value) == k {
			done = done && !unsettled
			continue
		}
		done = false
		if ready && !unsettled && known && (!m.compareAndSwap || s.shown[t] == s.value[t]) {
			m.send(s, effect{kind: promote, key: uint8(k), at: uint8(t), fits: true}, step)
		}
	}
	if !done {
		return
	}
	n := s
	for other := range n.keys {
		if n.keys[other] == live {
			n.keys[other] = retiring
		}
	}
	n.keys[k], n.want = live, 0
	step(model.Program, n, "key %d is live", k)
}

// fenceTarget makes what is under way to target t fail, and returns only after a read showed the fence's own version.
func (m machine) fenceTarget(s state, t int, step model.Step[state]) {
	s.newVersion(uint8(t))
	s.shown[t] = s.value[t]
	for i, e := range s.rows {
		if e.kind == promote && int(e.at) == t {
			s.rows[i] = effect{}
		}
	}
	step(model.Program, s.sorted(), "target %d is fenced", t)
}

// retire disables and deletes what was replaced, through the gate.
func (m machine) retire(s state, k int, step model.Step[state]) {
	n := s
	switch {
	case s.keys[k] == retiring && s.on[k] != m.everywhere():
		n.keys[k] = disabled
		step(model.Program, n, "key %d is seen off", k)
	case s.keys[k] == deleting && s.gone[k]:
		n.keys[k] = deleted
		step(model.Program, n, "key %d is seen gone", k)
		return
	}
	if !slices.Contains([]keyState{retiring, disabled, deleting}, s.keys[k]) || !m.gateOpen(s, k) {
		return
	}
	if s.keys[k] == retiring && !s.row(disable, k, -1) {
		n := s
		n.owes[k] = true
		m.send(n, effect{kind: disable, key: uint8(k)}, step)
	}
	if !s.row(destroy, k, -1) {
		n := s
		n.keys[k] = deleting
		m.send(n, effect{kind: destroy, key: uint8(k)}, step)
	}
}

func (m machine) gateOpen(s state, k int) bool {
	live := s.live()
	if live < 0 || live == k || s.on[live] == 0 || m.GateWaitsForPromotes && s.row(promote, k, -1) {
		return false
	}
	for t := range m.targets {
		value, known := m.read(s, t)
		if (t == 0 || m.GateReadsEveryTarget) && !(known && int(value) == live) {
			return false
		}
	}
	return true
}
