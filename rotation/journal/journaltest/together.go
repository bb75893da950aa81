package journaltest

import (
	"context"
	"errors"
	"math"
	"time"

	"rotator/rotation/journal"
)

// bounds are a pace's that moves fast enough to be watched.
var bounds = journal.PaceBounds{Top: 1000, Floor: 0.5, Burst: 100, Step: 10, Calm: time.Minute, Wave: time.Hour}

// take takes calls at a pace and wants its rate, and a delay of at least least, and at most half a minute more: the time
// that passes meanwhile shortens it.
func (k *kit) take(at time.Time, calls int, rate float64, least, most time.Duration) {
	k.Helper()
	delay, got, err := k.j.Take(k.Context(), at, "team", calls, bounds)
	k.ok(err)
	if math.Abs(got-rate) > 1e-9 || delay < least || delay > most {
		k.Fatalf("%d calls after %v at %v a second, want %v to %v at %v", calls, delay, got, least, most, rate)
	}
}

// together are the promises to replicas that share a journal.
var together = []promise{
	{"replicas are seen until they leave", func(k *kit) {
		at := now()
		for _, name := range []string{"two", "one"} {
			k.ok(k.j.Beat(k.Context(), at, journal.Replica{Name: name, Host: "h", Version: "1", StartedAt: at.Add(-time.Hour)}))
		}
		first, err := k.j.Replicas(k.Context())
		k.ok(err)
		k.equal("replicas", len(first), 2)
		one := first[0]
		k.equal("by name", []string{one.Name, first[1].Name, one.Host, one.Version}, []string{"one", "two", "h", "1"})
		k.equal("age", one.SeenAt.Sub(one.StartedAt), time.Hour)
		if d := one.SeenAt.Sub(at).Abs(); d > time.Minute || one.Unseen < 0 || one.Unseen > time.Minute {
			k.Errorf("seen %v away from now, and not for %v", d, one.Unseen)
		}
		k.policies("a", "b")
		_, err = k.j.Claim(k.Context(), "one", now(), 1)
		k.ok(err)
		k.ok(k.j.Beat(k.Context(), at.Add(time.Second), journal.Replica{Name: "one", Host: "h", Version: "2", Observes: true, StartedAt: at}))
		k.ok(k.j.Leave(k.Context(), "two"))
		k.ok(k.j.Leave(k.Context(), "two"))
		then, err := k.j.Replicas(k.Context())
		k.ok(err)
		if len(then) != 1 || then[0].Version != "2" || one.Observes || !then[0].Observes || then[0].Claims != 1 || then[0].SeenAt.Before(one.SeenAt) {
			k.Errorf("then: %+v", then)
		}
		k.equal("start", then[0].StartedAt, one.StartedAt)
	}},
	{"who acts for a policy is known", func(k *kit) {
		k.policies("a", "b")
		c := k.load("a")
		k.equal("policy", c.Policy.Name, "a")
		got, err := k.j.Claim(k.Context(), owner, now(), 1, "a")
		k.ok(err)
		all, err := k.j.Summaries(k.Context())
		k.ok(err)
		k.equal("owner of a", all[0].Owner, owner)
		k.equal("since", all[0].OwnedSince, got[0].Now)
		k.equal("owner of b", all[1].Owner, "")
		named, err := k.j.Summaries(k.Context(), "b", "a", "nobody")
		k.ok(err)
		k.equal("named", named, all)
		k.ok(k.j.Release(k.Context(), got[0], now()))
		all, err = k.j.Summaries(k.Context())
		k.ok(err)
		k.equal("owner after", all[0].Owner, "")
		k.equal("since after", all[0].OwnedSince, time.Time{})
	}},
	{"a pace is shared", func(k *kit) {
		at := now()
		// What was saved up is gone after a burst of a hundred; what is left is a thousand a second.
		k.take(at, 100, 1000, 0, 0)
		k.take(at, 60_000, 1000, 0, time.Second)
		k.take(at, 1, 1000, 30*time.Second, time.Minute)
		other, _, err := k.j.Take(k.Context(), at, "another team", 1, bounds)
		k.ok(err)
		k.equal("another team's delay", other, time.Duration(0))
	}},
	{"a pace is halved once per wave, and stops", func(k *kit) {
		at := now()
		k.take(at, 1, 1000, 0, 0)
		b := bounds
		b.Wave = 0
		k.ok(k.j.Slow(k.Context(), at, "team", 0, b))
		for range 3 {
			k.ok(k.j.Slow(k.Context(), at, "team", 5*time.Minute, bounds))
		}
		k.take(at, 1, 500, 4*time.Minute, 5*time.Minute)
		for range 30 {
			k.ok(k.j.Slow(k.Context(), at, "team", 0, b))
		}
		k.take(at, 1, 0.5, 4*time.Minute, 5*time.Minute+time.Second)
		// Nothing is reserved further ahead than one waits.
		b.Wait = time.Second
		for range 3 {
			delay, _, err := k.j.Take(k.Context(), at, "team", 1000, b)
			k.ok(err)
			if delay < 4*time.Minute || delay > 5*time.Minute+3*time.Second {
				k.Fatalf("delay %v", delay)
			}
		}
	}},
	{"a pace comes back", func(k *kit) {
		b := bounds
		b.Wave, b.Calm = 0, 0
		k.ok(k.j.Slow(k.Context(), now(), "team", 0, b)) // of a team that no one asked for yet
		for want := 510.0; want <= 530; want += 10 {
			_, rate, err := k.j.Take(k.Context(), now(), "team", 1, b)
			k.ok(err)
			k.equal("rate", rate, want)
		}
		b.Step = 1000
		_, rate, err := k.j.Take(k.Context(), now(), "team", 1, b)
		k.ok(err)
		k.equal("rate at the top", rate, 1000.0)
		_, rate, err = k.j.Take(k.Context(), now(), "team", 1, bounds)
		k.ok(err)
		k.equal("rate at the top", rate, 1000.0)
	}},
	{"wakes end with their context", func(k *kit) {
		ctx, cancel := context.WithCancel(k.Context())
		ended := make(chan error)
		go func() { ended <- k.j.Wakes(ctx, func() {}) }()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			k.Errorf("wakes ended with %v", err)
		}
	}},
}
