package xai_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"rotator/xai"
	"rotator/xai/xaisim"
)

func TestPace(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	ctx := t.Context()
	create := func(i int) error {
		_, err := b.m.CreateKey(ctx, team, request(fmt.Sprint("k", i)))
		return err
	}
	for i := range 300 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.slept) != 0 {
		t.Fatalf("300 creates without a 429 waited %v", b.slept)
	}

	// Against 5 a second it soon finds a rate that is mostly let through, and not much less than that.
	b.sim.SetRateLimit(xaisim.RateLimit{PerSecond: 5, Burst: 5})
	refused := func(n int) (count int) {
		for i := range n {
			if create(i) != nil {
				count++
			}
			b.Advance(time.Millisecond)
		}
		return count
	}
	if n := refused(100); n < 5 || n > 70 {
		t.Errorf("%d of the first 100 were refused", n)
	}
	begun := b.Now()
	n := refused(300)
	if took := b.Now().Sub(begun); n > 60 || took < 40*time.Second || took > 2*time.Minute {
		t.Errorf("of 300 creates against 5 a second %d were refused, in %v", n, took)
	}

	// It recovers, and then a burst is a burst again.
	b.sim.SetRateLimit(xaisim.RateLimit{})
	for i := range 200 {
		b.Advance(time.Second)
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	b.Advance(10 * time.Second)
	begun = b.Now()
	for i := range 300 {
		if err := create(i); err != nil {
			t.Fatal(err)
		}
	}
	if took := b.Now().Sub(begun); took != 0 {
		t.Errorf("after the recovery 300 creates took %v", took)
	}
}

func TestPaceStopsForRetryAfter(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.sim.Inject(xaisim.Fault{Call: "create", Kind: xaisim.Status, Status: 429, Body: `{"code":8,"message":"slow"}`, RetryAfter: 20 * time.Second})
	begun := b.Now()
	for range 2 { // the second one is not sent: a long wait is the caller's
		if _, err := b.m.CreateKey(t.Context(), team, request("x")); xai.RetryAfter(err) != 20*time.Second || xai.ClassOf(err) != xai.ClassRateLimited || b.Now() != begun {
			t.Fatalf("waited %v: %v", b.Now().Sub(begun), err)
		}
	}
	b.Advance(12 * time.Second)
	if _, err := b.m.CreateKey(t.Context(), team, request("y")); err != nil || b.Now().Sub(begun) < 20*time.Second || b.sim.Calls()["create"] != 2 {
		t.Errorf("the next call of the same key came after %v: %v", b.Now().Sub(begun), err)
	}
	other := newBench(t, xaisim.Options{})
	if _, err := other.m.CreateKey(t.Context(), team, request("z")); err != nil || len(other.slept) != 0 {
		t.Errorf("another key waited %v: %v", other.slept, err)
	}
}

// Many rotations share one client.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	sim := xaisim.New(xaisim.Options{Propagation: func(*rand.Rand) time.Duration { return 0 }})
	rt := &http.Client{Transport: sim.Transport()}
	m, err := xai.NewManagement(xai.ManagementOptions{URL: "https://h", Key: fixed(sim.NewManagementKey(team)), HTTP: rt})
	if err != nil {
		t.Fatal(err)
	}
	i, err := xai.NewInference(xai.InferenceOptions{URL: "https://h", HTTP: rt})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range 50 {
		group.Go(func() {
			k, err := m.CreateKey(t.Context(), team, request(fmt.Sprint("k", n)))
			if err == nil {
				err = i.Chat(t.Context(), k.Secret, "grok-4")
			}
			if err == nil {
				_, err = m.ListKeys(t.Context(), team)
			}
			if err == nil {
				err = m.DeleteKey(t.Context(), k.ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := len(sim.Live(team)); n != 0 {
		t.Errorf("%d keys left", n)
	}
}

// BenchmarkRotation is the calls of one rotation, without sockets and waits.
func BenchmarkRotation(b *testing.B) {
	w := newBench(b, xaisim.Options{Propagation: func(*rand.Rand) time.Duration { return 0 }})
	for b.Loop() {
		w.Advance(time.Minute)
		k, err := w.m.CreateKey(b.Context(), team, request("k"))
		if err != nil {
			b.Fatal(err)
		}
		_, err1 := w.m.Propagation(b.Context(), k.ID)
		_, err2 := w.i.WhoAmI(b.Context(), k.Secret)
		_, err3 := w.m.ListKeys(b.Context(), team)
		if err := errors.Join(err1, err2, err3, w.i.Chat(b.Context(), k.Secret, "grok-4"), w.m.DeleteKey(b.Context(), k.ID)); err != nil {
			b.Fatal(err)
		}
		w.slept = w.slept[:0]
	}
}
