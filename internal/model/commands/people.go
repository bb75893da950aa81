package commands

import "rotator/internal/model"

func (m machine) people(s state, step model.Step[state]) {
	base, w := s, s.inFlight()
	base.commands++
	n := base
	n.wanted, n.since = true, s.firstNew()
	step(model.Person, n, "rotate")
	if !m.onlyHelpful {
		m.distrust(s, base, step)
	}
	if n := base; w >= 0 && !s.rot.promoting {
		m.endRotation(&n)
		n.wanted, n.heldRotations = false, true
		step(model.Person, n, "abort")
	}
	if free := s.find(none); w >= 0 && s.rot.promoting && free >= 0 && !m.onlyHelpful {
		n := base
		m.startRotation(&n, free, true, false)
		step(model.Person, n, "rotate --supersede")
	}
	m.rollback(s, base, step)
	m.holds(s, base, step)
}

// firstNew is the first key that is made after now.
func (s state) firstNew() uint8 {
	for i := keys - 1; i >= 0; i-- {
		if s.keys[i].st != none {
			return uint8(i) + 1
		}
	}
	return 0
}

func (m machine) distrust(s, base state, step model.Step[state]) {
	for i, k := range s.keys {
		if k.st != none && k.st < rejected && !k.compromised {
			n := base
			n.keys[i].compromised, n.heldRotations = true, false
			step(model.Person, n, "rotate --compromised --key %d", i)
		}
		if (k.st == live || k.st == retiring || k.st == promoting) && k.power == on {
			n := base
			n.keys[i].compromised, n.keys[i].power = true, off
			if k.st != promoting {
				n.keys[i].st = disabled
			}
			step(model.Person, n, "revoke key %d --accept-outage", i)
		}
	}
}

func (m machine) rollback(s, base state, step model.Step[state]) {
	from := s.find(live)
	if s.rot.promoting {
		from = s.inFlight()
	}
	if from < 0 {
		return
	}
	to := s.replacedBy(from)
	if to >= 0 && s.keys[to].st.exposed() && !s.keys[to].compromised && to != s.inFlight() {
		m.startRotation(&base, to, false, false)
		base.heldRotations, base.wanted = true, false
		step(model.Person, base, "rollback to key %d", to)
	}
}

func (m machine) holds(s, base state, step model.Step[state]) {
	if !s.heldAll {
		n := base
		n.heldAll = true
		step(model.Person, n, "hold")
		revived := n
		for i, k := range s.keys {
			if k.st == disabled && !k.compromised && k.power == off && !k.refusesEnable {
				revived.keys[i].st, revived.keys[i].power = retiring, on
			}
		}
		if revived != n {
			step(model.Person, revived, "revive")
		}
	}
	if s.heldAll || s.heldRotations {
		base.heldAll, base.heldRotations = false, false
		step(model.Person, base, "release")
	}
}
