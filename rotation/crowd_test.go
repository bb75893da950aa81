package rotation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/xai"
)

// manyTeams is a world of three teams at one xAI, whose management API answers one of them late.
type manyTeams struct {
	*bench
	late  string
	delay time.Duration
}

func (w manyTeams) Teams() []string { return []string{"alpha", "beta", "gamma"} }

func (w manyTeams) Team(ctx context.Context, name string) (rotation.Team, error) {
	team, err := w.bench.Team(ctx, name)
	if name == w.late {
		team.Keys = lateKeys{team.Keys, w.delay}
	}
	return team, err
}

type lateKeys struct {
	rotation.KeyAPI
	delay time.Duration
}

func (k lateKeys) CreateKey(ctx context.Context, team string, r xai.CreateRequest) (xai.CreatedKey, error) {
	time.Sleep(k.delay)
	return k.KeyAPI.CreateKey(ctx, team, r)
}

func (k lateKeys) ListKeys(ctx context.Context, team string) (xai.KeyList, error) {
	time.Sleep(k.delay)
	return k.KeyAPI.ListKeys(ctx, team)
}

func (k lateKeys) Propagation(ctx context.Context, id string) (xai.Propagation, error) {
	time.Sleep(k.delay)
	return k.KeyAPI.Propagation(ctx, id)
}

// of is a policy of a team in a store.
func of(team, store string, i int) string {
	name := fmt.Sprintf("%s-%03d", team, i)
	doc := policyDoc(name, quick, fmt.Sprintf("{store: %s, path: %s}", store, name))
	return strings.Replace(doc, "team: research", "team: "+team, 1)
}

// A team whose calls take half a minute and that has hundreds of policies due keeps no other team waiting, however short
// the calls are of (they may be too short for a turn to give its place up), and is served itself as fast as it answers.
func TestSlowTeamStarvesNobody(t *testing.T) {
	for _, delay := range []time.Duration{30 * time.Second, 1900 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := newLedger(b.journal)
				b.engine = newEngine("engine", rotation.Options{Journal: l, Environment: manyTeams{b, "alpha", delay}, Now: b.now})
				var docs []string
				for i := range 500 {
					docs = append(docs, of("alpha", "a", i))
				}
				b.load(docs...)
				b.runs(time.Minute) // it is busy with them
				for _, team := range []string{"beta", "gamma"} {
					for i := range 10 {
						docs = append(docs, of(team, "a", i))
					}
				}
				b.load(docs...)
				b.runs(20 * time.Second)
				for name := range b.specs {
					if p := b.record(name).Policy; !strings.HasPrefix(name, "alpha") && p.KeyID == "" {
						b.violated("%s has no key after 20 seconds: %q %s", name, p.Reason, p.Error)
					}
				}
				l.since()
				b.runs(5 * time.Minute)
				if asked := l.since(); asked["Claim"] > 6000 || asked["Release"] > 4000 {
					b.violated("the engine spins: %v", asked)
				}
				live := 0
				for name := range b.specs {
					if strings.HasPrefix(name, "alpha") && b.record(name).Policy.KeyID != "" {
						live++
					}
				}
				b.t.Logf("%d of 500 were served in the first six minutes", live)
				if live < int(12*6*time.Minute/(8*delay)) { // 12 turns at once, each of some calls
					b.violated("only %d policies of the slow team were served", live)
				}
			})
		})
	}
}

// A store with hundreds of policies due, whose calls take just too little for a turn to give its place up, leaves room
// for the others.
func TestSluggishStoreStarvesNobody(t *testing.T) {
	bubble(t, func(b *bench) {
		b.wrapped["b"] = sluggish{b.stores["b"], func(string) { time.Sleep(1900 * time.Millisecond) }}
		b.birth()
		var docs []string
		for i := range 300 {
			docs = append(docs, of("research", "b", i))
		}
		b.load(docs...)
		b.runs(time.Minute)
		docs = append(docs, of("other", "a", 1), of("other", "a", 2))
		b.load(docs...)
		b.runs(10 * time.Second)
		for _, name := range []string{"other-001", "other-002"} {
			if b.record(name).Policy.KeyID == "" {
				b.violated("%s has no key after 10 seconds", name)
			}
		}
	})
}

// An engine that acts for some policies alone leaves the others as they are.
func TestOnly(t *testing.T) {
	bubble(t, func(b *bench) {
		b.load(policyDoc("mine", quick, targetA), policyDoc("other", quick, targetC))
		before := b.record("other").Policy
		b.engine = newEngine("alone", rotation.Options{Journal: b.journal, Environment: b, Now: b.now, Only: []string{"mine"}})
		if err := b.engine.scheduler.RunOnce(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		b.runs(time.Hour)
		if b.record("mine").Policy.KeyID == "" {
			b.violated("mine has no key")
		}
		if now := b.record("other").Policy; now != before {
			b.violated("other was touched: %+v, and was %+v", now, before)
		}
	})
}

// A journal that answers questions and hands out no work, as one that may only be read, is not taken for one that does,
// whether someone wants something of it or not.
func TestJournalThatOnlyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		ordered, leases bool
		after           time.Duration // at the latest it is noticed
	}{
		"an order":          {true, false, 3 * time.Second},
		"a replica at rest": {false, true, 13 * time.Second},
		"a watch is due":    {false, false, 16 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := b.atRest(1)
				l.leases = c.leases
				b.runs(time.Minute)
				if _, err := b.engine.scheduler.LastTry(); err != nil || b.clock.Sub(b.engine.scheduler.LastLook()) > 3*time.Second {
					b.violated("the last look was %s ago: %v", b.clock.Sub(b.engine.scheduler.LastLook()), err)
				}
				l.refuse = func(method string, _ []string) error {
					if method == "Next" || method == "Load" || method == "LoadAll" {
						return nil
					}
					return errFault
				}
				if c.ordered {
					b.order(journal.Order{Policy: "p0", Kind: journal.OrderRotate, Trigger: journal.ByHand})
				}
				b.runs(c.after)
				was := b.engine.scheduler.LastLook()
				b.runs(time.Minute)
				tried, err := b.engine.scheduler.LastTry()
				if err == nil || b.clock.Sub(tried) > 3*time.Second || b.engine.scheduler.LastLook() != was {
					b.violated("last try %s with %v, last look %s", tried, err, b.engine.scheduler.LastLook())
				}
				l.refuse = nil
				b.runs(15 * time.Second) // a round begins meanwhile
				if _, err := b.engine.scheduler.LastTry(); err != nil || b.clock.Sub(b.engine.scheduler.LastLook()) > 3*time.Second {
					b.violated("the last look was %s ago: %v", b.clock.Sub(b.engine.scheduler.LastLook()), err)
				}
			})
		})
	}
}
