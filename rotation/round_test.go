package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"rotator/internal/secret"
	"rotator/rotation"
	"rotator/rotation/health"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/stores"
	"rotator/stores/memstore"
)

// Thousands at rest cost a few questions a round, and all are watched in time.
func TestRounds(t *testing.T) {
	for _, leases := range []bool{false, true} {
		t.Run(fmt.Sprintf("leases %v", leases), func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := b.atRest(100)
				l.leases = leases
				b.runs(30 * time.Minute)
				b.watched(15*time.Minute + 10*time.Second)
				l.since()
				b.runs(time.Hour)
				b.watched(15*time.Minute + 10*time.Second)
				asked := l.since()
				if n := asked["Claim"] + asked["Load"] + asked["Commit"] + asked["Release"] + asked["Renew"]; n > 20 {
					b.violated("asked of single policies: %v", asked)
				}
				// Four watches of each, and most of them come together.
				if n := asked["ClaimResting"]; n > 40 || asked["LoadAll"] > n || asked["CommitAll"] > n {
					b.violated("asked of all: %v", asked)
				}
				if n := asked["Next"]; n > 60*60 {
					b.violated("%d looks in an hour", n)
				}
				b.t.Log(asked)
			})
		})
	}
}

// What a round finds is reported, and holds up nothing else.
func TestRoundFindsDrift(t *testing.T) {
	bubble(t, func(b *bench) {
		l := b.atRest(20)
		b.stores["a"].Set("p7", `{"key": "a password"}`)
		b.exempt["an unknown value"] = true
		b.runs(20 * time.Minute)
		b.watched(15*time.Minute + 10*time.Second)
		asked := l.since()
		if n := b.count(journal.Drifted); n != 1 || b.record("p7").Policy.Reason != reason.DriftFound {
			b.violated("%d events of drift; p7 waits for %q", n, b.record("p7").Policy.Reason)
		}
		if asked["Commit"] < 1 || asked["Commit"] > 3 {
			b.violated("asked: %v", asked)
		}
	})
}

// A store that hangs holds up those that need it, and costs no more than a try now and then.
func TestRoundWithHangingStore(t *testing.T) {
	bubble(t, func(b *bench) {
		sick := []int{1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 40, 43, 46, 49, 52, 55, 58}
		var names []string
		for _, i := range sick {
			names = append(names, fmt.Sprint("p", i))
		}
		b.limits = rotation.Limits{Concurrency: 4}
		b.birth()
		l := b.atRest(60, sick...)
		b.wrapped["b"] = hanging{b.stores["b"]}
		b.engine.Reload(b)
		b.runs(2 * time.Hour)
		b.watched(15*time.Minute+10*time.Second, names...)
		if asked := l.since(); asked["CommitAll"] > 2*60*60 || asked["Claim"]+asked["Load"]+asked["Release"]+asked["Commit"] > 2000 {
			b.violated("asked: %v", asked)
		}
		for _, name := range names {
			if p := b.record(name).Policy; p.Reason != reason.StoreUnavailable && p.WatchAt.Before(b.clock.Add(-time.Minute)) {
				b.violated("%s: reason %q, to be watched at %s", name, p.Reason, p.WatchAt)
			}
		}
		delete(b.wrapped, "b")
		b.engine.Reload(b)
		b.runs(20 * time.Minute)
		b.watched(15*time.Minute + 10*time.Second)
	})
}

// startled is a store whose reads of one path panic.
type startled struct {
	*memstore.Store
	path string
}

func (s startled) Current(ctx context.Context, at stores.Target) (secret.Text, error) {
	if at.Path == s.path {
		panic("a defect")
	}
	return s.Store.Current(ctx, at)
}

// A watch that panics costs its policy a pause, is shown, and costs the others of its round nothing.
func TestPanicInRound(t *testing.T) {
	bubble(t, func(b *bench) {
		b.atRest(20)
		b.wrapped["a"] = startled{b.stores["a"], "p3"}
		b.engine.Reload(b)
		b.runs(30 * time.Minute)
		b.watched(15*time.Minute+10*time.Second, "p3")
		if p := b.record("p3").Policy; p.Reason != reason.Internal || p.Failures < 3 || b.count(journal.Failed) != 1 {
			b.violated("p3 waits for %q after %d failures, told %d times", p.Reason, p.Failures, b.count(journal.Failed))
		} else if p.Health != health.Degraded || p.HealthReason != reason.Internal {
			b.violated("p3 is %s (%s)", p.Health, p.HealthReason)
		}
		delete(b.wrapped, "a")
		b.engine.Reload(b)
		b.runs(20 * time.Minute)
		b.watched(15*time.Minute + 10*time.Second)
		if p := b.record("p3").Policy; p.Reason != "" || p.Failures > 0 {
			b.violated("p3 still waits for %q", p.Reason)
		} else if p.Health != health.OK {
			b.violated("p3 is %s (%s)", p.Health, p.HealthReason)
		}
	})
}

// Claims that cannot be ended in a journal whose claims never end by themselves are ended when it answers again.
func TestRoundThatCannotBeReleased(t *testing.T) {
	for name, silent := range map[string][]string{
		"after its turns":  {"CommitAll", "Release"},
		"before its turns": {"LoadAll", "Release"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(b *bench) {
				l := b.atRest(20)
				until := time.Now().Add(20 * time.Minute)
				l.refuse = func(method string, _ []string) error {
					if slices.Contains(silent, method) && time.Now().Before(until) {
						return errFault
					}
					return nil
				}
				b.runs(38 * time.Minute)
				b.watched(15*time.Minute + 10*time.Second)
			})
		})
	}
}

// One record that the journal refuses does not keep the others of its round from being released, and is shown.
func TestRoundWithRefusedRecord(t *testing.T) {
	bubble(t, func(b *bench) {
		l := b.atRest(20)
		refused := 0
		l.refuse = func(method string, policies []string) error {
			if (method == "CommitAll" || method == "Commit" && refused < 2) && slices.Contains(policies, "p3") {
				refused++
				return fmt.Errorf("%w: a rule", journal.ErrForbidden)
			}
			return nil
		}
		b.runs(13*time.Minute + 30*time.Second) // the watch of all, and p3's pause is not over
		b.watched(15*time.Minute+10*time.Second, "p3")
		if p := b.record("p3").Policy; refused < 2 || p.Reason != reason.Internal {
			b.violated("refused %d times, and p3 waits for %q: %s", refused, p.Reason, p.Error)
		}
	})
}

// sluggish is a store whose reads take a while.
type sluggish struct {
	*memstore.Store
	read func(path string)
}

func (s sluggish) Current(ctx context.Context, at stores.Target) (secret.Text, error) {
	s.read(at.Path)
	return s.Store.Current(ctx, at)
}

// A claim that waits too long for a place is given back, and never acted on once another replica may have it.
func TestRoundThatWaitsTooLong(t *testing.T) {
	bubble(t, func(b *bench) {
		b.limits = rotation.Limits{Concurrency: 1}
		b.birth()
		l := b.atRest(30)
		l.leases = true
		l.refuse = func(method string, _ []string) error {
			if method == "Renew" {
				return errFault
			}
			return nil
		}
		b.wrapped["a"] = sluggish{b.stores["a"], func(path string) {
			if held := time.Since(l.claimedAt(path)); held >= 2*l.Lease()/3 {
				b.violated("%s was read with a claim %s old", path, held)
			}
			time.Sleep(1500 * time.Millisecond)
		}}
		b.engine.Reload(b)
		b.runs(30 * time.Minute)
		b.watched(17 * time.Minute)
		if asked := l.since(); asked["Release"] > 0 || asked["ClaimResting"] < 10 {
			b.violated("asked: %v", asked)
		}
	})
}

// What stops in the middle of a round leaves nothing claimed, and counts for nothing.
func TestRoundStops(t *testing.T) {
	bubble(t, func(b *bench) {
		b.limits = rotation.Limits{Concurrency: 2}
		b.birth()
		b.atRest(40)
		b.wrapped["a"] = sluggish{b.stores["a"], func(string) { time.Sleep(time.Second) }}
		b.engine.Reload(b)
		for range 20 { // the watch of all takes half a minute, and begins in the second round
			b.runs(43 * time.Second)
			all, err := b.journal.Summaries(b.t.Context())
			if err != nil {
				b.t.Fatal(err)
			}
			for _, s := range all {
				if s.Owner != "" || s.Policy.Failures > 0 || s.Policy.Error != "" {
					b.violated("%s belongs to %q, failed %d times: %s", s.Policy.Name, s.Owner, s.Policy.Failures, s.Policy.Error)
				}
			}
		}
		b.runs(2 * time.Minute)
		b.watched(17 * time.Minute)
	})
}

// A turn that can neither record its end nor give its claim back goes on when the journal answers again.
func TestTurnThatCannotBeReleased(t *testing.T) {
	bubble(t, func(b *bench) {
		l := b.atRest(2)
		until := time.Now().Add(20 * time.Minute)
		l.refuse = func(method string, policies []string) error {
			if slices.Contains([]string{"Commit", "Load", "Release"}, method) && policies[0] == "p1" && time.Now().Before(until) {
				return errFault
			}
			return nil
		}
		b.order(journal.Order{Policy: "p1", Kind: journal.OrderRotate, Trigger: journal.ByHand})
		b.runs(23 * time.Minute)
		b.watched(15*time.Minute+10*time.Second, "p1")
		if r := b.record("p1"); r.Rotation != nil || r.Live() == nil || len(r.Keys) != 2 {
			b.violated("the rotation is %+v, the keys are %+v", r.Rotation, r.Keys)
		}
	})
}

// A round that has more to watch than there are places, here 75 s of work, keeps no caller waiting who asks for something now.
// The longest wait is that of a policy which is in the round itself: for a place, a call, and the round's next release, and
// then for a place once more.
func TestRoundLeavesRoom(t *testing.T) {
	const call, longest = 1500 * time.Millisecond, 11 * time.Second
	bubble(t, func(b *bench) {
		b.limits = rotation.Limits{Concurrency: 4}
		b.birth()
		b.atRest(200)
		b.wrapped["a"] = sluggish{b.stores["a"], func(string) { time.Sleep(call) }}
		b.engine.Reload(b)
		var ids []int64
		for i := range 10 {
			b.after(13*time.Minute+time.Duration(10*i+5)*time.Second, func() {
				id, err := b.journal.Place(b.t.Context(), journal.Order{
					Policy: fmt.Sprint("p", 20*i), Kind: journal.OrderRotate, Trigger: journal.ByHand, At: time.Now(), By: "tester",
				})
				if err != nil {
					b.t.Error(err)
				}
				ids = append(ids, id)
				b.engine.scheduler.Wake()
			})
		}
		b.runs(15*time.Minute + 10*time.Second)
		for _, id := range ids {
			o, err := b.journal.OrderByID(b.t.Context(), id)
			if err != nil || o.DoneAt.IsZero() || o.DoneAt.Sub(o.At) > longest {
				b.violated("%s: said at %s, heard at %s: %v", o.Policy, o.At, o.DoneAt, err)
			}
			b.t.Log(o.DoneAt.Sub(o.At))
		}
	})
}
