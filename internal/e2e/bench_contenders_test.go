package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rotator/internal/api"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// A contender rotates keys in Vault up to the promoted and proved key, in a process of its own.
type contender interface {
	// rotate rotates the names, at most inFlight at a time, and returns how long that took and what it cost in CPU time.
	rotate(b *testing.B, names []string, inFlight int) (wall, cpu time.Duration)
}

// bare is the loop of bench_bare_test.go.
type bare struct{ *arena }

func (c bare) rotate(b *testing.B, names []string, inFlight int) (wall, cpu time.Duration) {
	orders, err := json.Marshal(bareOrders{XAI: c.xaiURL, Key: c.key.Reveal(), Vault: c.vaultURL(), Token: c.token,
		Journal: b.TempDir() + "/bare.db", Names: names, InFlight: inFlight})
	if err != nil {
		b.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), bareRole+"="+string(orders))
	return timed(b, command)
}

// script is testdata/rotate.sh under xargs.
type script struct{ *arena }

func (c script) rotate(b *testing.B, names []string, inFlight int) (wall, cpu time.Duration) {
	for _, tool := range []string{"bash", "curl", "jq", "xargs"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("%s is not installed: there is nothing to compare with", tool)
		}
	}
	command := exec.Command("xargs", "-n1", "-P"+strconv.Itoa(inFlight), "testdata/rotate.sh")
	command.Stdin = strings.NewReader(strings.Join(names, "\n"))
	command.Env = append(os.Environ(), "XAI="+c.xaiURL, "KEY="+c.key.Reveal(), "TEAM="+team, "VAULT="+c.vaultURL(), "TOKEN="+c.token)
	return timed(b, command)
}

// timed runs a command. Its CPU time is that of its children too.
func timed(b *testing.B, command *exec.Cmd) (wall, cpu time.Duration) {
	b.Helper()
	began := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return time.Since(began), command.ProcessState.UserTime() + command.ProcessState.SystemTime()
}

// product is the built binary as a daemon that was started before. It is told over its socket what to rotate; when a
// key is live is read from its journal, which costs the daemon nothing.
type product struct {
	*daemon
	running *process
	journal *sqldb.DB
}

// newProduct starts a daemon for the names and waits until it has met every target.
func newProduct(b *testing.B, a *arena, every string, names ...string) *product {
	b.Helper()
	c := &product{daemon: newDaemon(b, a.parts, "watch: 1h", a.vaultStore(b, a.vault.Address, "10s", "llm/*"))}
	var docs strings.Builder
	for _, name := range names {
		fmt.Fprintf(&docs, "---\nname: %s\nteam: research\nschedule: %q\nkey: {acls: %s}\ntargets: [{store: vault, path: llm/%s, field: api_key}]\nretire: {overlap: 0s, soak: 0s}\n",
			name, every, acls, name)
	}
	a.write(b, "policies/bench.yaml", docs.String())
	c.start(b)
	return c
}

func (c *product) start(b *testing.B) {
	c.running = c.daemon.start(b)
	eventually(b, "the daemon is ready", func() bool { return c.ready() })
	c.journal = c.look(b)
	b.Cleanup(func() {
		_ = c.journal.Close()
		c.running.kill()
	})
	eventually(b, "every target was met", func() bool {
		all, err := c.journal.Summaries(b.Context())
		return err == nil && !slices.ContainsFunc(all, func(s journal.Summary) bool { return s.Policy.DueAt.IsZero() })
	})
}

func (d *daemon) ready() bool {
	answer, err := http.Get("http://" + d.web + "/readyz")
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func (c *product) rotate(b *testing.B, names []string, inFlight int) (wall, cpu time.Duration) {
	client := c.client()
	seen, err := client.Present(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	before := c.cpu(b)
	began := time.Now()
	place := func(name string) {
		if _, err := client.Place(b.Context(), api.OrderRequest{Policy: name, Kind: string(journal.OrderRotate), By: "bench"}); err != nil {
			b.Fatal(err)
		}
	}
	left := names
	for range min(inFlight, len(left)) {
		place(left[0])
		left = left[1:]
	}
	var last time.Time
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for done := 0; done < len(names); <-tick.C {
		if time.Since(began) > 10*time.Minute {
			b.Fatalf("%d of %d are live after ten minutes", done, len(names))
		}
		events, err := c.journal.Events(b.Context(), seen, 1000)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range events {
			seen = e.ID
			if e.Kind != journal.Promoted {
				continue
			}
			done, last = done+1, e.At
			if len(left) > 0 {
				place(left[0])
				left = left[1:]
			}
		}
	}
	return last.Sub(began), c.cpu(b) - before
}

// cpu is the CPU time that the daemon has used so far, of 10 ms exactness.
func (c *product) cpu(b *testing.B) time.Duration { return cpuOf(b, c.running.Process.Pid) }

func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(after) // from field 3 on: utime is field 14, stime 15, in ticks of 10 ms
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
