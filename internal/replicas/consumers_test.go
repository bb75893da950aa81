package replicas

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rotator/internal/secret"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// consumers read every policy's key and use it, in turn and without end.
type consumers struct {
	cluster   *cluster
	inference *xai.Inference
	calls     atomic.Int64
	late      atomic.Int64 // calls that this machine, not the rotator, delayed beyond the overlap
	jump      atomic.Int64 // when the clock last jumped that overlaps are measured by, in Unix nanoseconds

	mu       sync.Mutex
	failures wrongs
	seen     map[string][]string // policy → the values that were read, each once, in order
}

// consume begins; stop ends it.
func (c *cluster) consume() (cs *consumers, stop func()) {
	c.Helper()
	inference, err := xai.NewInference(xai.InferenceOptions{URL: "http://127.0.0.1", HTTP: &http.Client{Transport: c.sim.Transport()}})
	if err != nil {
		c.Fatal(err)
	}
	cs = &consumers{cluster: c, inference: inference, seen: make(map[string][]string)}
	ended := make(chan struct{})
	var working sync.WaitGroup
	const each = 20 // policies to a consumer
	for i := 0; i < len(c.names); i += each {
		working.Go(func() { cs.run(c.names[i:min(i+each, len(c.names))], ended) })
	}
	stop = sync.OnceFunc(func() {
		close(ended)
		working.Wait()
	})
	c.Cleanup(stop)
	return cs, stop
}

func (cs *consumers) run(names []string, ended <-chan struct{}) {
	last := make(map[string]string, len(names))
	for {
		for _, name := range names {
			select {
			case <-ended:
				return
			case <-time.After(3 * time.Millisecond): // the machine has other things to do as well
			}
			last[name] = cs.use(name, last[name])
		}
	}
}

// use reads a key and chats with it. It returns what it read.
func (cs *consumers) use(name, last string) string {
	began := time.Now()
	key, err := os.ReadFile(cs.cluster.path("secrets", name))
	if errors.Is(err, os.ErrNotExist) && last == "" {
		return "" // before its first key a consumer has nothing to do
	}
	if err == nil && len(key) == 0 {
		err = errors.New("the key is gone")
	}
	value := string(key)
	if err == nil && value != last {
		cs.mu.Lock()
		cs.seen[name] = append(cs.seen[name], value)
		cs.mu.Unlock()
	}
	if err == nil {
		err = cs.inference.Chat(cs.cluster.Context(), secret.New(value), "grok-4")
	}
	cs.calls.Add(1)
	switch {
	case err == nil:
	case time.Since(began) > overlap/2, cs.leapt(name, value): // what it read was good then
		cs.late.Add(1)
	default:
		cs.fail("%s at %s: %v", name, began.Format("15:04:05.000"), err)
	}
	return value
}

// setClock sets the database's clock. Overlaps are measured by it: when it jumps, some end at once.
func (cs *consumers) setClock(ahead time.Duration) {
	cs.jump.Store(time.Now().UnixNano())
	cs.cluster.postgres.SetClock(cs.cluster, ahead)
}

// leapt reports whether a clock that jumped has taken the overlap of a key that has been replaced since it was read.
func (cs *consumers) leapt(name, value string) bool {
	if time.Since(time.Unix(0, cs.jump.Load())) > 2*overlap {
		return false
	}
	now, err := os.ReadFile(cs.cluster.path("secrets", name))
	return err == nil && string(now) != value
}

func (cs *consumers) fail(format string, args ...any) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.failures.add(format, args...)
}

// guardKeys watches every disable and delete at the moment it has its effect: no target may hold the key then.
func (cs *consumers) guardKeys() {
	c := cs.cluster
	c.sim.OnCall(func(call xaisim.Call) {
		if call.Done || call.Op != "update" && call.Op != "delete" {
			return
		}
		for _, k := range c.sim.Keys(team) {
			if k.ID != call.ID {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(k.Name, "rotator-"), "-")
			if held, err := os.ReadFile(c.path("secrets", name)); err == nil && string(held) == k.Secret.Reveal() {
				cs.fail("%s: %s of key %s while its target holds it", name, call.Op, k.ID)
			}
		}
	})
}

// found is what consumers complained of so far.
func (cs *consumers) found() wrongs {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return slices.Clone(cs.failures)
}
