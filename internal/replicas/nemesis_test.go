package replicas

import (
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotator/internal/testenv/postgrestest"
)

// nemesis harms replicas, above all the one that holds a rotation, and the database.
type nemesis struct {
	*cluster
	users   *consumers
	rng     *rand.Rand
	repairs []repair // in no order

	counted sync.Mutex
	counts  map[string]int // guarded by counted
}

// repair undoes a harm when its time has come.
type repair struct {
	at  time.Time
	of  *replica // nil: of the database
	how func()
}

// duration is how long the nemesis rages.
func duration() time.Duration {
	switch {
	case os.Getenv("ROTATOR_SOAK") == "1":
		return 30 * time.Minute
	case testing.Short():
		return 15 * time.Second
	}
	return 2 * time.Minute
}

// TestNemesis: three replicas, whose clocks and the database's never agree, rotate two hundred policies without pause
// while whoever holds one is killed, frozen for longer than its lease, cut off, or finds its requests delayed beyond it,
// clocks jump, and the database crashes. No consumer ever reads a dead key, xAI is left with one key for each policy,
// never are two keys promoted for one rotation, and the journal has one story.
func TestNemesis(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	c := newClusterOn(t, postgrestest.StartWithClock(t), 3, 200)
	c.complain()
	for _, r := range c.replicas {
		r.program = skewed
	}
	users, stop := c.rotating(12 * time.Second)
	first := c.live()

	n := &nemesis{cluster: c, users: users, rng: rand.New(rand.NewPCG(seed, 1)), counts: make(map[string]int)}
	const stale = "claim lost; another replica took over"
	n.rage(duration(), func() bool { return c.live() > first && c.said(stale) > 0 })
	t.Logf("%v; meanwhile %d rotations became live; %d stale owners stopped", n.counts, c.live()-first, c.said(stale))
	c.nothingLost(users, stop)
}

// rage harms for d, and on a slow machine until it has hit, then repairs everything.
func (n *nemesis) rage(d time.Duration, hit func() bool) {
	n.Helper()
	end := time.Now().Add(d)
	late := end.Add(10 * time.Minute)
	crashes := []time.Time{time.Now().Add(d / 4), time.Now().Add(d * 2 / 3)}
	if d > 10*time.Minute {
		crashes = nil
		for at := end.Add(-d); at.Before(end); at = at.Add(2 * time.Minute) {
			crashes = append(crashes, at)
		}
	}
	for now := time.Now(); now.Before(end) || !hit(); now = time.Now() {
		if now.After(late) {
			n.Fatal("nobody found that his claim was lost, or nothing became live: the nemesis hit nobody, or everyone")
		}
		n.undo(now)
		if len(crashes) > 0 && now.After(crashes[0]) {
			crashes = crashes[1:]
			n.crash()
		}
		for _, r := range n.replicas {
			if !n.harmed(r) {
				r.revive() // what a service manager does: without a database it had ended
			}
		}
		if r := n.owner(); r != nil && !n.harmed(r) {
			n.harm(r, now)
		}
		time.Sleep(time.Duration(20+n.rng.IntN(300)) * time.Millisecond) // the instant is what is random
	}
	for len(n.repairs) > 0 {
		n.undo(time.Now())
		time.Sleep(50 * time.Millisecond)
	}
}

func (n *nemesis) harmed(r *replica) bool {
	for _, m := range n.repairs {
		if m.of == r {
			return true
		}
	}
	return false
}

func (n *nemesis) undo(now time.Time) {
	var left []repair
	for _, m := range n.repairs {
		if now.Before(m.at) {
			left = append(left, m)
		} else {
			m.how()
		}
	}
	n.repairs = left
}

// harm does one thing to a replica for longer than its lease. What is done to a create is done in its middle: the
// request is on its way, and no one can tell whether it will have its effect.
func (n *nemesis) harm(r *replica, now time.Time) {
	kinds := []string{"kill", "freeze", "cut", "silence", "delay", "create killed", "create frozen", "create delayed",
		"replica's clock", "database's clock"}
	kind := kinds[n.rng.IntN(len(kinds))]
	while := lease + time.Duration(n.rng.Int64N(int64(lease)))
	thaw := func() { r.signal(syscall.SIGCONT) }
	count := func() { n.counted.Lock(); n.counts[kind]++; n.counted.Unlock() }
	undo := r.repair
	switch kind {
	case "kill":
		r.kill()
		while = time.Duration(n.rng.Int64N(int64(lease)))
	case "freeze":
		r.signal(syscall.SIGSTOP)
		undo = thaw
	case "cut":
		r.database.setCut(true)
	case "silence":
		r.database.silence()
	case "replica's clock":
		r.set(time.Duration(n.rng.IntN(240)-120) * time.Second)
	case "database's clock":
		n.users.setClock(time.Duration(n.rng.IntN(15)) * time.Second) // what is due waits for as long as it goes back
	case "delay":
		r.xai.delay(while)
	case "create killed":
		r.xai.lay(create, func() { count(); r.signal(syscall.SIGKILL) })
	case "create frozen":
		r.xai.lay(create, func() { count(); r.signal(syscall.SIGSTOP); time.AfterFunc(while, thaw) })
		while *= 2
		undo = func() { r.repair(); thaw() }
	case "create delayed": // beyond the lease, which cannot be renewed
		r.xai.lay(create, func() { count(); r.xai.delay(lease); r.database.setCut(true) })
		while *= 2
	}
	if !strings.HasPrefix(kind, "create") {
		count()
	}
	n.repairs = append(n.repairs, repair{at: now.Add(while), of: r, how: undo})
}

// repair makes the replica's lines whole. Replicas that were killed are restarted by rage.
func (r *replica) repair() {
	r.database.repair()
	r.xai.repair()
}

// crash kills the database's main process and starts it again.
func (n *nemesis) crash() {
	n.counted.Lock()
	n.counts["crash of the database"]++
	n.counted.Unlock()
	n.postgres.Kill(n)
	n.postgres.Restart(n)
}
