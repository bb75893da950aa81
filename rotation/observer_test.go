package rotation_test

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rotator/internal/secret"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/stores/memstore"
	"rotator/xai/xaisim"
)

// An observer compares what truly arrives at xAI and in the stores with what the journal had committed by then. It knows
// nothing of the engine: only the table of the states, what an effect's row promises, and what a simulator really holds.
// All of its methods are allowed on nil, where nothing observes.
type observer struct {
	b      *bench
	rows   map[string]journal.Effect  // id → as last committed, closed ones included
	refs   map[string]string          // key id → ref, as committed
	names  map[string]string          // ref → policy
	busy   map[string]bool            // policies whose last commit left something under way
	paths  map[[2]string]bool         // store and path of every target that was ever committed
	under  bool                       // a call that changes something is under way at xAI
	since  int                        // deaths when it began
	dirty  bool                       // something landed in a store since the last look
	stored int                        // changes that stores made
	lates  int                        // changes that landed after their answer was lost
	wrote  map[journal.EffectKind]int // changes that arrived
	shown  map[string]journal.Policy  // policy → its row, as committed
	dead   map[string]time.Time       // policy → since when a consumer of it reads a key that xAI refuses
}

// observed has an observer watch this world from now on.
func (b *bench) observed() {
	b.seen = &observer{
		b: b, rows: map[string]journal.Effect{}, refs: map[string]string{}, names: map[string]string{},
		paths: map[[2]string]bool{}, busy: map[string]bool{}, wrote: map[journal.EffectKind]int{},
		shown: map[string]journal.Policy{}, dead: map[string]time.Time{},
	}
	b.sim.OnEffect(b.seen.effect)
	b.sim.OnCall(b.seen.call)
	for name, s := range b.stores {
		s.Now = b.now
		s.OnLand(func(l memstore.Landed) { b.seen.land(name, l) })
	}
}

// forget is told that the journal was lost.
func (o *observer) forget() {
	if o != nil {
		clear(o.rows)
		clear(o.refs)
		clear(o.busy)
		clear(o.shown)
	}
}

// reads is told at every look whether a consumer of a policy reads a key that xAI refuses. It checks I5: such a policy is not
// shown as ok for more than two watches, whoever broke the key.
func (o *observer) reads(policy string, refused bool) {
	if o == nil {
		return
	}
	since, was := o.dead[policy]
	switch {
	case !refused:
		delete(o.dead, policy)
	case !was:
		o.dead[policy] = o.b.clock
	case o.b.clock.Sub(since) >= 2*cmp.Or(o.b.limits.Watch, 15*time.Minute):
		row, known := o.shown[policy]
		if h, _ := health.Shown(&row, journal.Hold{}, o.b.clock); known && h == health.OK && !row.Leaving() { // whose keys are to be dead
			o.b.violated("I5: %s is ok, and a consumer of it has read a dead key since %s", policy, since)
		}
	}
}

// restless reports that by the last commit something is under way: then it need not be asked of the journal.
func (o *observer) restless() bool {
	if o != nil {
		for _, busy := range o.busy {
			if busy {
				return true
			}
		}
	}
	return false
}

// landed reports whether something landed in a store since it was asked last.
func (o *observer) landed() bool {
	if o == nil {
		return false
	}
	was := o.dirty
	o.dirty = false
	return was
}

// nextLanding is when the next change that is under way lands, or t when that comes first.
func (o *observer) nextLanding(t time.Time) time.Time {
	if o == nil {
		return t
	}
	earlier := func(at time.Time) {
		if at.After(o.b.clock) && at.Before(t) {
			t = at
		}
	}
	for _, s := range o.b.stores {
		for _, p := range s.Pending() {
			earlier(p.Due)
		}
	}
	for _, p := range o.b.sim.Pending() {
		earlier(p.At.Add(-o.b.skew))
	}
	return t
}

// commits checks a commit against the tables of the states, and returns what is to be called once it is written.
func (o *observer) commits(rec *journal.Record) (written func()) {
	if o == nil {
		return func() {}
	}
	if rec.Base != nil {
		o.moves(rec)
	}
	row := rec.Policy
	effects, keys, targets := slices.Clone(rec.Effects), slices.Clone(rec.Keys), slices.Clone(rec.Targets)
	return func() {
		o.shown[row.Name] = row
		o.busy[rec.Policy.Name] = rec.Rotation != nil || len(unsettled(rec))+len(rec.Retired) > 0
		for _, e := range effects {
			o.rows[e.ID] = e
		}
		for _, k := range keys {
			o.names[k.Ref] = k.Policy
			if k.ID != "" {
				o.refs[k.ID] = k.Ref
			}
		}
		for _, t := range targets {
			o.paths[[2]string{t.Store, t.Path}] = true
		}
	}
}

// moves checks that keys and rotations move along their tables, one move in one commit, and that no rotation begins beside
// another (I6).
func (o *observer) moves(rec *journal.Record) {
	for _, k := range rec.Keys {
		if was := rec.Base.Key(k.Ref); was != nil && !was.State.May(k.State) {
			o.b.violated("key %s goes from %s to %s in one commit", k.ID, was.State, k.State)
		}
	}
	was := rec.Base.Rotation
	if was == nil {
		return
	}
	var now *journal.Rotation
	for i := range rec.Ended {
		if rec.Ended[i].ID == was.ID {
			now = &rec.Ended[i]
		}
	}
	switch {
	case now == nil && (rec.Rotation == nil || rec.Rotation.ID != was.ID):
		o.b.violated("I6: rotation %s was dropped in state %s", was.ID, was.State)
	case now == nil:
		now = rec.Rotation
	case !now.State.Final():
		o.b.violated("I6: rotation %s ended in state %s", was.ID, now.State)
	}
	if now != nil && !was.State.May(now.State) {
		o.b.violated("rotation %s goes from %s to %s in one commit", was.ID, was.State, now.State)
	}
}

// call is told of every call to xAI.
func (o *observer) call(c xaisim.Call) {
	switch {
	case !writes[c.Op]:
	case c.Done:
		o.under = false
	default:
		o.under, o.since = true, o.b.deaths
		kinds := map[string][]journal.EffectKind{
			"create": {journal.EffectCreate},
			"update": {journal.EffectUpdate, journal.EffectEnable, journal.EffectDisable},
			"delete": {journal.EffectDelete},
		}[c.Op]
		ref := o.refs[c.ID]
		if !o.row(func(e journal.Effect) bool {
			return e.State == journal.EffectOpen && slices.Contains(kinds, e.Kind) && (c.Op == "create" || e.Key == ref && ref != "")
		}) {
			o.b.violated("%s of %s arrives at xAI without a committed row", c.Op, c.ID)
		}
	}
}

// calling reports whether a call of a process that lives is under way at xAI.
func (o *observer) calling() bool { return o.under && o.since == o.b.deaths }

// row reports whether the journal has a row for which is says yes.
func (o *observer) row(is func(journal.Effect) bool) bool {
	for _, e := range o.rows {
		if is(e) {
			return true
		}
	}
	return false
}

// mayArrive reports whether a change may take effect by what its row says: it was sent and not said to be over.
func (o *observer) mayArrive(e journal.Effect, late bool) bool {
	if !late {
		return e.State == journal.EffectOpen
	}
	at := o.b.clock
	if !e.Kind.OnTarget() && o.b.skew > 0 {
		at = at.Add(o.b.skew)
	}
	quiet := e.QuietAt
	if e.State == journal.EffectOpen && !quietAlready(e.Kind) { // as it will be said once it is found to be unknown
		quiet = quiet.Add(10 * time.Minute)
	}
	switch e.State {
	case journal.EffectOpen, journal.EffectUnknown, journal.EffectDone:
		return at.Before(quiet)
	}
	return false
}

func quietAlready(k journal.EffectKind) bool {
	return k == journal.EffectEnable || k == journal.EffectDisable
}

// effect is told of every change of a key at xAI at the moment at which it takes effect.
func (o *observer) effect(e xaisim.Effect) {
	defer o.b.live()
	kind := journal.EffectKind(e.Op)
	switch {
	case !o.ours(e):
		return // by a human
	case e.Key.Deleted && kind != journal.EffectDelete:
		return // it changes nothing any more
	case o.b.strange[e.Key.ID]:
		o.b.violated("I3: %s of %s, which is someone else's", e.Op, e.Key.ID)
	}
	late := e.Late || !o.calling() // or acknowledged, and a cluster learns of it only now
	if e.Late {
		o.lates++
	}
	o.wrote[kind]++
	ref := o.refs[e.Key.ID]
	if kind == journal.EffectCreate && strings.HasPrefix(e.Key.Name, "rotator-") {
		ref = e.Key.Name[len(e.Key.Name)-36:]
	}
	if !o.row(func(r journal.Effect) bool {
		return r.Kind == kind && r.Key == ref && o.mayArrive(r, late)
	}) {
		o.b.violated("%s of key %s (%s) takes effect, late %t, and no row of the journal says that it may", e.Op, e.Key.ID, e.Key.Name, late)
	}
	if kind == journal.EffectDisable || kind == journal.EffectDelete {
		o.unread(e.Op, e.Key.ID, e.Key.Secret)
	}
}

// ours reports whether a change of a key was asked for by a call, and not done by a human.
func (o *observer) ours(e xaisim.Effect) bool {
	return e.Late || o.calling() || e.At.Equal(o.b.clock.Add(o.b.skew)) && len(e.Clusters) == 1
}

// unread checks that no target holds a key that is destroyed, and that no write is under way that would put it there.
func (o *observer) unread(op, id string, value secret.Text) {
	if o.b.exempt[id] {
		return
	}
	for name, s := range o.b.stores {
		for place := range o.paths {
			if doc, _ := s.Doc(place[1]); place[0] == name && strings.Contains(doc, value.Reveal()) {
				o.b.violated("I3: %s of key %s while %s:%s holds it", op, id, name, place[1])
			}
		}
		for _, p := range s.Pending() {
			if p.Op == "promote" && !p.Stale && p.Fingerprint == value.Fingerprint() {
				o.b.violated("I3: %s of key %s while a write of it to %s:%s is under way", op, id, name, p.Path)
			}
		}
	}
}

// land is told of every change in a store at the moment at which it takes effect. The store is locked.
func (o *observer) land(store string, l memstore.Landed) {
	o.dirty = true
	o.stored++
	kind := map[string]journal.EffectKind{"stage": journal.EffectStage, "promote": journal.EffectPromote,
		"discard": journal.EffectUnstage, "fence": journal.EffectFence}[l.Op]
	if l.Late {
		o.lates++
	}
	o.wrote[kind]++
	if !o.row(func(e journal.Effect) bool {
		return e.Kind == kind && e.Target == journal.TargetID{Store: store, Path: l.Path, Field: l.Field} &&
			(kind == journal.EffectFence || e.Key == l.Attempt) && o.mayArrive(e, l.Late)
	}) {
		o.b.violated("%s of %s at %s:%s takes effect, late %t, and no row of the journal says that it may", l.Op, l.Attempt, store, l.Path, l.Late)
	}
}

// peace lives on until 26 hours after the last fault, and checks that nothing is left to do then.
func (b *bench) peace() {
	b.t.Helper()
	end := b.clock.Add(26 * time.Hour)
	b.runUntil(25*time.Hour, b.isIdle)
	b.pass(end.Add(-time.Minute)) // watches that find nothing are left out
	b.run(time.Minute)
	for _, name := range b.known() {
		r := b.record(name)
		for _, k := range r.Keys {
			if k.State != journal.LiveKey {
				b.violated("a day after the last fault key %s of %s is still %s: %s %s", k.ID, name, k.State, k.Reason, k.Error)
			}
		}
		for _, e := range r.Effects {
			b.violated("a day after the last fault effect %s of %s (%s at %s) is still %s", e.Kind, e.Key, e.ID, e.Target, e.State)
		}
		if p := r.Policy; p.Failures > 0 || p.NextRunAt.IsZero() || p.NextRunAt.After(b.clock.Add(2*time.Hour)) {
			b.violated("I5: a day after the last fault %s failed %d times (%s %s) and is looked at again at %s", name, p.Failures, p.Reason, p.Error, p.NextRunAt)
		}
	}
	b.sealed()
}

// sealed checks I4: no value of a key is in what the journal reports or keeps in words.
func (b *bench) sealed() {
	var words strings.Builder
	events, err := b.journal.Events(b.t.Context(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range events {
		for _, v := range e.Data {
			words.WriteString(v)
			words.WriteByte('\n')
		}
	}
	for _, name := range b.known() {
		r := b.record(name)
		words.WriteString(r.Policy.Error)
		for _, k := range r.Keys {
			words.WriteString(k.Error)
		}
	}
	for _, k := range b.sim.Keys(teamID) {
		if strings.Contains(words.String(), k.Secret.Reveal()) {
			b.violated("I4: the journal holds the value of key %s", k.ID)
		}
	}
}
