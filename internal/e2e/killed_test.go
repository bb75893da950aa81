package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/xai"
	"rotator/xai/xaisim"
)

// A fleet is the built binary under one disaster after the other: five policies over Vault and files that are always in
// the middle of some rotation, against `rotator sandbox`, with a consumer for every target.
type fleet struct {
	*daemon
	names []string
	stop  func() // the consumers
	rng   *rand.Rand
}

// fleetPolicies: name → its targets.
var fleetPolicies = map[string]string{
	"vault-1": `{store: vault, path: llm/one, field: api_key}`,
	"vault-2": `{store: vault, path: llm/two, field: api_key}`,
	"file-1":  `{store: local, path: one}`,
	"file-2":  `{store: local, path: two.json, field: key}`,
	"both":    `{store: vault, path: llm/both, field: api_key}, {store: local, path: both}`,
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	p := newParts(t, xaisim.Options{}) // its own simulator is unused: the sandbox is one in another process
	p.xaiURL, p.key = sandbox(t, p.dir, 5*time.Millisecond)
	p.vault.Write(t, p.mount, "llm/one", `{"other":"kept"}`)
	p.write(t, "secrets/two.json", `{"other": "kept"}`)
	stores := p.vaultStore(t, p.vault.Address, "3s", "llm/one", "llm/two", "llm/both") + p.fileStore()
	f := &fleet{daemon: newDaemon(t, p, "watch: 2s, quarantine: 3s", stores), rng: rand.New(rand.NewPCG(seed, 2))}
	f.complain(t)
	f.schedule(t, "@every 3s")
	_, f.stop = consume(t, p.inference(t), map[string]source{
		"vault-1": p.fromVault(t, "llm/one", "api_key"), "vault-2": p.fromVault(t, "llm/two", "api_key"),
		"file-1": p.fromFile("one", ""), "file-2": p.fromFile("two.json", "key"),
		"both in Vault": p.fromVault(t, "llm/both", "api_key"), "both in a file": p.fromFile("both", ""),
	})
	return f
}

func (f *fleet) schedule(t testing.TB, every string) {
	t.Helper()
	f.names = nil
	var docs []string
	for name, targets := range fleetPolicies {
		f.names = append(f.names, name)
		docs = append(docs, fmt.Sprintf("name: %s\nteam: research\nschedule: %q\nkey: {acls: %s}\ntargets: [%s]\nretire: {overlap: %s, soak: 500ms}\n",
			name, every, acls, targets, overlap))
	}
	f.write(t, "policies/all.yaml", strings.Join(docs, "---\n"))
}

// between is a random while.
func (f *fleet) between(least, most time.Duration) time.Duration {
	return least + time.Duration(f.rng.Int64N(int64(most-least)))
}

// settle lets everything end, without new rotations, and checks what is left.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	f.schedule(t, "@every 720h")
	d := f.start(t)
	client := f.client()
	eventually(t, "every rotation ends", func() bool {
		rows, err := client.Status(t.Context())
		if err != nil || len(rows) != len(f.names) {
			return false
		}
		for _, r := range rows {
			if r.State != api.StateIdle || r.KeyID == nil || r.NextRun == nil || time.Until(*r.NextRun) < time.Hour {
				return false
			}
		}
		return f.unsettled(t) == 0
	})
	f.stop()
	history, err := client.History(t.Context(), "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]int{}
	for _, r := range history {
		ends[r.State]++
		if r.Ended == nil {
			t.Errorf("rotation %s of %s is still %s", r.Rotation, r.Policy, r.State)
		}
	}
	t.Logf("%d rotations ended: %v", len(history), ends)
	if ends[string(journal.Done)] < len(f.names) {
		t.Error("the test rotated next to nothing")
	}
	f.noOrphans(t)
	d.terminate(t)
	f.nothingStaged(t, []string{"llm/one", "llm/two", "llm/both"}, nil)
	if doc, _ := f.vault.Read(t, f.mount, "llm/one"); fields(t, doc)["other"] != "kept" {
		t.Error("a neighbor in Vault is gone")
	}
	if fields(t, f.read(t, "secrets", "two.json"))["other"] != "kept" {
		t.Error("a neighbor in a file is gone")
	}
}

// unsettled counts the keys that are to go, and the changes that may still land.
func (f *fleet) unsettled(t testing.TB) (n int) {
	t.Helper()
	j := f.look(t)
	defer func() { _ = j.Close() }()
	all, err := j.Summaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		rec, err := j.Load(t.Context(), s.Policy.Name)
		if err != nil {
			t.Fatal(err)
		}
		n += leftOver(rec)
	}
	return n
}

// leftOver counts the keys of a policy besides its live one, its changes of which no one knows what became, and what is
// staged.
func leftOver(rec *journal.Record) (n int) {
	for _, e := range rec.Effects {
		if e.State == journal.EffectOpen || e.State == journal.EffectUnknown || e.Kind == journal.EffectStage {
			n++
		}
	}
	for _, k := range rec.Keys {
		if k.State != journal.LiveKey {
			n++
		}
	}
	return n
}

// noOrphans checks that xAI holds one key for each policy, enabled, and that the targets hold those.
func (f *fleet) noOrphans(t *testing.T) {
	t.Helper()
	list, err := management(t, f.xaiURL, f.key).ListKeys(t.Context(), team)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]xai.Key{}
	for _, k := range list.Keys {
		left[k.ID] = k
	}
	if len(left) != len(f.names) {
		t.Errorf("I2: xAI holds %d keys for %d policies", len(left), len(f.names))
	}
	for _, read := range []source{
		f.fromVault(t, "llm/one", "api_key"), f.fromVault(t, "llm/two", "api_key"), f.fromFile("one", ""),
		f.fromFile("two.json", "key"), f.fromVault(t, "llm/both", "api_key"), f.fromFile("both", ""),
	} {
		key, err := read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		who, err := f.inference(t).WhoAmI(t.Context(), secret.New(key))
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := left[who.KeyID]; !ok || k.Disabled {
			t.Errorf("I1: a target holds key %s, which xAI does not list or has disabled", who.KeyID)
		}
	}
}

// rounds is how often a disaster happens: hundreds of times with ROTATOR_SOAK=1.
func rounds(short, usual, soak int) int {
	switch {
	case os.Getenv("ROTATOR_SOAK") == "1":
		return soak
	case testing.Short():
		return short
	}
	return usual
}

// TestKilled: the binary is killed at random instants and started again by a loop. No consumer notices, no key is left
// over, every rotation ends.
func TestKilled(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for range rounds(4, 20, 200) {
		d := f.start(t)
		select {
		case <-time.After(f.between(50*time.Millisecond, 2*time.Second)):
		case <-d.ended:
			t.Fatalf("it ended by itself: %s", d.ProcessState)
		}
		d.kill()
	}
	f.settle(t)
}

// TestTerminated: SIGTERM at random instants parks what is in hand and ends with exit 0 in 30 seconds.
func TestTerminated(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	slowest := time.Duration(0)
	for range rounds(2, 8, 100) {
		d := f.start(t)
		eventually(t, "it takes signals", func() bool { _, err := f.client().Version(t.Context()); return err == nil })
		time.Sleep(f.between(0, 2*time.Second)) // the instant is what is random
		slowest = max(slowest, d.terminate(t))
	}
	t.Logf("the slowest stop took %s", slowest.Round(time.Millisecond))
	f.settle(t)
}

// TestTerminatedWhileAStoreHangs: a call that never ends does not hold the stop up.
func TestTerminatedWhileAStoreHangs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for the daemon's patience of 25 seconds")
	}
	p := newParts(t, xaisim.Options{})
	proxy := p.vault.Proxy(t)
	d := newDaemon(t, p, "watch: 2s, quarantine: 2s", p.vaultStore(t, proxy.Address, "5m", "llm/one"))
	d.complain(t)
	p.write(t, "policies/one.yaml", "name: one\nteam: research\nschedule: \"@every 2s\"\nkey: {acls: "+acls+"}\n"+
		"targets: [{store: vault, path: llm/one}]\nretire: {overlap: 1s, soak: 1s}\n")
	running := d.start(t)
	eventually(t, "a first key is live", func() bool {
		rows, err := d.client().Status(t.Context())
		return err == nil && len(rows) == 1 && rows[0].KeyID != nil
	})
	proxy.Inject(0, nil, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	proxy.Seen()
	eventually(t, "a call hangs", func() bool { return len(proxy.Seen()) > 0 })
	t.Logf("SIGTERM took %s", running.terminate(t).Round(time.Millisecond))
}

// TestFrozen: a process that is stopped for longer than any time limit, and wakes up in the middle of its step, goes on
// as if it had crashed.
func TestFrozen(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	d := f.start(t)
	signal := func(s os.Signal) {
		if err := d.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	freezes := make([]time.Duration, rounds(1, 4, 50))
	for i := range freezes {
		freezes[i] = 4 * time.Second // longer than Vault's limit here and the quarantine
	}
	if !testing.Short() {
		freezes = append(freezes, 33*time.Second) // xAI's is thirty
	}
	for _, frozen := range freezes {
		time.Sleep(f.between(500*time.Millisecond, 3*time.Second)) // the instant is what is random
		signal(syscall.SIGSTOP)
		time.Sleep(frozen) // nothing says when the limits of a process that stalls are over
		signal(syscall.SIGCONT)
	}
	d.terminate(t)
	f.settle(t)
}
