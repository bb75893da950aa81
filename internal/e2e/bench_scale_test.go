package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"rotator/internal/testenv/vaulttest"
	"rotator/policies"
	"rotator/rotation/due"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/xai/xaisim"
)

// BenchmarkScale is what the daemon needs for many policies that have long been rotated and are not due: the time until
// it is ready, its memory, and its CPU time while it does nothing but its watch, at its usual pace.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{2_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if n > 10_000 && testing.Short() {
				b.Skip("its preparation takes minutes")
			}
			d := settled(b, n)
			began := time.Now()
			running := d.start(b)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for !d.ready() {
				if time.Since(began) > time.Minute {
					b.Fatal("it is not ready after a minute")
				}
				<-tick.C
			}
			b.ReportMetric(time.Since(began).Seconds(), "s-to-ready")
			b.ReportMetric(cpuOf(b, running.Process.Pid).Seconds(), "CPU-s-to-ready")
			// The state that it stays in is what counts: the garbage of the start is given back after a while.
			const settling, watched = 10 * time.Second, 30 * time.Second
			time.Sleep(settling)
			spent := cpuOf(b, running.Process.Pid)
			time.Sleep(watched)
			b.ReportMetric(100*float64(cpuOf(b, running.Process.Pid)-spent)/float64(watched), "%CPU-idle")
			b.ReportMetric(memory(b, running.Process.Pid, "VmRSS"), "MB")
			b.ReportMetric(memory(b, running.Process.Pid, "VmHWM"), "MB-peak")
			b.ReportMetric(0, "ns/op")
			running.terminate(b)
		})
	}
}

// memory reads a figure of /proc/PID/status in MB.
func memory(b *testing.B, pid int, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	kb := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
	if kb == nil {
		b.Fatalf("%s is missing", name)
	}
	n, _ := strconv.Atoi(string(kb[1]))
	return float64(n) / 1024
}

// settled lays out n policies that were rotated before, each with its key at xAI, in its file and in the journal, and
// their next watch spread over its pace.
func settled(b *testing.B, n int) *daemon {
	b.Helper()
	p := newParts(b, xaisim.Options{Latency: 20 * time.Millisecond})
	d := newDaemon(b, p, "watch: 15m", p.fileStore())
	names := make([]string, n)
	var docs strings.Builder
	for i := range names {
		names[i] = fmt.Sprintf("policy-%06d", i)
		fmt.Fprintf(&docs, "---\nname: %s\nteam: research\nowner: team-%d@example.com\nschedule: \"%d %d %d * *\"\njitter: 10m\nmax_age: 45d\nkey: {acls: %s}\ntargets: [{store: local, path: d%d/%s}]\n",
			names[i], i%50, i%60, i/60%24, 1+i%28, acls, i%100, names[i])
		if docs.Len() > 500_000 || i == n-1 {
			p.write(b, fmt.Sprintf("policies/%06d.yaml", i), docs.String())
			docs.Reset()
		}
	}
	all := policies.Load(p.path("policies"), policies.Options{})
	if err := all.Err(); err != nil {
		b.Fatal(err)
	}
	loaded := all.Policies
	for i := range min(n, 100) {
		if err := os.Mkdir(p.path("secrets", fmt.Sprint("d", i)), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	j := openJournal(b, p)
	specs := make([]journal.Spec, n)
	for i, name := range names {
		specs[i] = journal.Spec{Name: name, Team: "research", Owner: loaded[name].Owner, Canonical: string(loaded[name].Canonical())}
	}
	if err := j.SetPolicies(b.Context(), time.Now().Add(-24*time.Hour), specs); err != nil {
		b.Fatal(err)
	}
	seed(b, p, j, loaded)
	if err := j.SaveTeam(b.Context(), journal.Team{Name: "research", ID: team, Scope: "SCOPE_TEAM", ValidatedAt: time.Now().Add(-time.Hour)}); err != nil {
		b.Fatal(err)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	return d
}

// seed writes the past of every policy as the engine would have left it.
func seed(b *testing.B, p *parts, j *sqldb.DB, loaded map[string]*policies.Policy) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	for {
		claims, err := j.Claim(b.Context(), "seed", now, 512)
		if err != nil {
			b.Fatal(err)
		}
		if len(claims) == 0 {
			return
		}
		var batch errgroup.Group
		for _, c := range claims {
			policy := loaded[c.Policy]
			batch.Go(func() error {
				rec, err := j.Load(b.Context(), c.Policy)
				if err != nil {
					return err
				}
				id, key := p.sim.AddKey(team, "rotator-"+c.Policy, "api-key:model:grok-4", "api-key:endpoint:chat")
				path := policy.Targets[0].Path
				if err := os.WriteFile(p.path("secrets", path), []byte(key.Reveal()), 0o600); err != nil {
					return err
				}
				fingerprint, yesterday := string(key.Fingerprint()), now.Add(-23*time.Hour)
				r := &rec.Policy
				r.LastSuccess = yesterday
				at, cause := due.Facts{FirstSeen: r.FirstSeen, LastSuccess: yesterday, OldestKey: yesterday}.Next(policy, now)
				r.DueAt, r.DueCause = at.Add(7*24*time.Hour), string(cause) // nothing is due while it is looked at
				r.WatchAt = now.Add(time.Minute + rand.N(15*time.Minute)).Truncate(time.Microsecond)
				r.NextRunAt = r.WatchAt
				rec.Keys = append(rec.Keys, journal.Key{Ref: id, ID: id, Policy: c.Policy, Team: "research", Name: "rotator-" + c.Policy, Fingerprint: fingerprint,
					Origin: journal.OfAdoption, State: journal.LiveKey, CreatedAt: yesterday, ExposedAt: yesterday, LiveAt: yesterday, Health: "ok", HealthAt: yesterday})
				rec.Targets = append(rec.Targets, journal.Target{TargetID: journal.TargetID{Store: "local", Path: path}, Policy: c.Policy,
					Status: journal.TargetOK, Place: placeOf(b, p.path("secrets", path)), KeyID: id, Fingerprint: fingerprint, Replaceable: fingerprint, ContactAt: yesterday, SeenAt: yesterday})
				return j.Commit(b.Context(), c, rec, true)
			})
		}
		if err := batch.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// placeOf is the place of a file as the store of files reports it.
func placeOf(b *testing.B, path string) string {
	b.Helper()
	var folder unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &folder); err != nil {
		b.Error(err)
	}
	return fmt.Sprintf("%d:%d/%s#", folder.Dev, folder.Ino, filepath.Base(path))
}

// BenchmarkLag is how late rotations begin when 2,000 policies come due over one minute, and the store of one of them
// takes 30 s for every answer.
func BenchmarkLag(b *testing.B) {
	const n = 2000
	names := numbered("policy", n)
	a := newArena(b, names...)
	proxy := a.vault.Proxy(b)
	stores := a.vaultStore(b, a.vault.Address, "10s", "llm/*") +
		fmt.Sprintf("  slow: {type: vault, address: %q, mount: %q, timeout: 1m, auth: {method: token, token: \"file:vault.token\"}}\n", proxy.Address, a.mount)
	c := &product{daemon: newDaemon(b, a.parts, "watch: 1h", stores)}
	minute := time.Now().Add(75 * time.Second).Truncate(time.Minute)
	var docs strings.Builder
	for i, name := range names {
		store := "vault"
		if i == 0 {
			store = "slow"
		}
		fmt.Fprintf(&docs, "---\nname: %s\nteam: research\nschedule: \"%d %d * * *\"\njitter: 1m\nkey: {acls: %s}\ntargets: [{store: %s, path: llm/%s, field: api_key}]\nretire: {overlap: 0s, soak: 0s}\n",
			name, minute.UTC().Minute(), minute.UTC().Hour(), acls, store, name)
	}
	a.write(b, "policies/bench.yaml", docs.String())
	c.start(b)
	due := map[string]time.Time{}
	before, err := c.journal.Summaries(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range before {
		due[s.Policy.Name] = s.Policy.DueAt
		if off := s.Policy.DueAt.Sub(minute); off < 0 || off >= time.Minute {
			b.Fatalf("%s is due at %s, not within the minute of %s", s.Policy.Name, s.Policy.DueAt, minute)
		}
	}
	if late := time.Since(minute); late > 0 {
		b.Fatalf("the preparation took %s too long", late)
	}
	proxy.Inject(0, nil, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		vaulttest.Delay(30*time.Second)(w, r, forward)
	})
	spent := c.cpu(b)
	eventually(b, "all but the slow one are live", func() bool {
		return time.Since(minute) > time.Minute && lives(b, c.journal) >= n-1
	})
	all, err := c.journal.Rotations(b.Context(), "", n)
	if err != nil {
		b.Fatal(err)
	}
	var lags, whole []time.Duration
	for _, r := range all {
		lags = append(lags, r.StartedAt.Sub(due[r.Policy]))
		if !r.LiveAt.IsZero() {
			whole = append(whole, r.LiveAt.Sub(due[r.Policy]))
		}
	}
	slices.Sort(lags)
	slices.Sort(whole)
	b.ReportMetric(lags[len(lags)/2].Seconds(), "s-p50")
	b.ReportMetric(lags[len(lags)*99/100].Seconds(), "s-p99")
	b.ReportMetric(lags[len(lags)-1].Seconds(), "s-max")
	b.ReportMetric(whole[len(whole)*99/100].Seconds(), "s-p99-until-live")
	b.ReportMetric(float64((c.cpu(b)-spent).Milliseconds())/n, "CPU-ms/rotation")
	b.ReportMetric(0, "ns/op")
}
