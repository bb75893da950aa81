package xaisim

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Effect is a change of a key, reported when it takes effect and not when it is asked for.
type Effect struct {
	Op       string // create, update, enable, disable, delete or rotate
	At       time.Time
	Key      KeyTruth // after the change; a deleted key may be accepted for Options.DeleteLag more
	Clusters []string // of an enable or a disable: those that it has just reached
	Late     bool     // the request's answer was lost before
}

// Pending is a change that is still to take effect.
type Pending struct {
	Op           string // as in Effect, but limits or rename where an update changes nothing else
	ID           string // of the key, or of the team for a create
	At           time.Time
	Acknowledged bool // it was answered, and xAI's own clusters have yet to learn of it
}

// pendingEffect is what takes effect later.
type pendingEffect struct {
	Pending
	run   func(at time.Time)
	still func() bool // nil: always; false when it was called off
}

// OnEffect has f called for each change of a key, in the order of time, when someone first looks after it. f runs without
// the simulator's lock, and may call it.
func (s *Sim) OnEffect(f func(Effect)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers = append(s.observers, f)
}

// Late loses the answer of the next call of op, which takes effect delay later. op is a Call.Op, or enable, disable, limits
// or rename for an update of that kind.
func (s *Sim) Late(op string, delay time.Duration) {
	s.Inject(Fault{Call: op, When: Late, Delay: delay, Kind: Reset})
}

// Land has everything take effect that is due.
func (s *Sim) Land() {
	s.mu.Lock()
	defer s.unlock()
	s.now()
}

// LandAll has every request take effect now whose answer was lost and that is still under way.
func (s *Sim) LandAll() {
	s.mu.Lock()
	defer s.unlock()
	now := s.now()
	due := s.pending
	s.pending = slices.DeleteFunc(slices.Clone(due), func(p pendingEffect) bool { return !p.Acknowledged })
	for _, p := range due {
		if !p.Acknowledged {
			p.run(now)
		}
	}
}

// Pending returns what is still to take effect, soonest first.
func (s *Sim) Pending() []Pending {
	s.mu.Lock()
	defer s.unlock()
	s.now()
	waiting := []Pending{}
	for _, p := range s.pending {
		if p.still == nil || p.still() {
			waiting = append(waiting, p.Pending)
		}
	}
	return waiting
}

// unlock releases s.mu, and then notifies the observers what has taken effect.
func (s *Sim) unlock() {
	landed, observers := s.landed, slices.Clone(s.observers)
	s.landed = nil
	s.mu.Unlock()
	for _, e := range landed {
		for _, f := range observers {
			f(e)
		}
	}
}

// now returns the time, after everything that was due by then has landed. s.mu is held.
func (s *Sim) now() time.Time {
	now := s.o.Now()
	for len(s.pending) > 0 && !s.pending[0].At.After(now) {
		next := s.pending[0]
		s.pending = s.pending[1:]
		if next.still == nil || next.still() {
			next.run(next.At)
		}
	}
	return now
}

// later has p run when it is first looked for after its time.
func (s *Sim) later(p pendingEffect) {
	s.pending = append(s.pending, p)
	slices.SortStableFunc(s.pending, func(a, b pendingEffect) int { return a.At.Compare(b.At) })
}

// effect notes a change for the observers.
func (s *Sim) effect(op string, k *key, at time.Time, clusters ...string) {
	if len(s.observers) > 0 {
		s.landed = append(s.landed, Effect{Op: op, At: at, Key: k.truth(at), Clusters: clusters, Late: s.late})
	}
}

// setDisabled reaches the clusters one by one, in both directions. Either way cancels what is still on its way, unless the
// options say that it lands anyway.
func (s *Sim) setDisabled(k *key, now time.Time, disabled bool) {
	lag, spread, op := s.o.EnableLag, s.o.EnableSpread, "enable"
	oldWins := s.o.LateDisableWins
	if disabled {
		lag, spread, op = s.o.DisableLag, s.o.DisableSpread, "disable"
		oldWins = s.o.LateEnableWins
	}
	all := append([]*switches{&k.shown}, k.clusters()...)
	for _, w := range all {
		w.settle(now)
		if !oldWins {
			w.forget(now)
		}
	}
	k.shown.set(now, disabled)
	if disabled {
		k.shown.set(now.Add(lag), true)
	}
	for i, w := range k.clusters() {
		at := now.Add(lag + time.Duration(i)*spread)
		w.set(at, disabled)
		if i == 0 || spread > 0 {
			s.reach(op, k, i, at, now, spread > 0)
		}
	}
}

// reach notifies the observers when a disable or an enable reaches cluster i, or all of them at once.
func (s *Sim) reach(op string, k *key, i int, at, now time.Time, single bool) {
	names := s.o.Clusters
	if single && i < len(names) {
		names = names[i : i+1]
	}
	if !at.After(now) {
		s.effect(op, k, at, names...)
		return
	}
	s.later(pendingEffect{
		Pending: Pending{Op: op, ID: k.id, At: at, Acknowledged: true},
		run:     func(at time.Time) { s.effect(op, k, at, names...) },
		still:   func() bool { return slices.Contains(k.refused[i], change{at, op == "disable"}) },
	})
}

// updateKind is the kind of an update by its mask: enable, disable, limits, rename or update.
func updateKind(body []byte) string {
	var in struct {
		APIKey    struct{ Disabled bool } `json:"apiKey"`
		FieldMask string                  `json:"fieldMask"`
	}
	if json.Unmarshal(body, &in) != nil {
		return "update"
	}
	fields := strings.Split(in.FieldMask, ",")
	limit := func(f string) bool { return f == "qps" || f == "qpm" || f == "tpm" }
	switch {
	case slices.Equal(fields, []string{"disabled"}) && in.APIKey.Disabled:
		return "disable"
	case slices.Equal(fields, []string{"disabled"}):
		return "enable"
	case slices.Equal(fields, []string{"name"}):
		return "rename"
	case !slices.ContainsFunc(fields, func(f string) bool { return !limit(f) }):
		return "limits"
	}
	return "update"
}
