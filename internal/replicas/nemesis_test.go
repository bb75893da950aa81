package replicas

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rotator/rotation/journal"
)

// nemesis harms replicas, above all the one that holds a rotation, and the database.
type nemesis struct {
	*cluster
	rng   *rand.Rand
	mends []mend // in no order

	counted sync.Mutex
	counts  map[string]int // guarded by counted
}

// mend undoes a harm when its time has come.
type mend struct {
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
	return 45 * time.Second
}

// TestNemesis: three replicas rotate sixty policies without pause while whoever holds one is killed, frozen for longer
// than its lease, cut off, or finds its requests delayed beyond it, and the database crashes. No consumer ever reads a
// dead key, xAI is left with one key for each policy, never are two keys promoted for one rotation, and the journal tells
// one story.
func TestNemesis(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	c := newCluster(t, 3, 60)
	c.complain()
	c.schedule(12 * time.Second)
	for _, r := range c.replicas {
		r.start()
	}
	users, stop := c.consume()
	users.guardKeys()
	eventually(t, 2*time.Minute, "the first keys are live", func() bool { return c.live() >= len(c.names) })
	first := c.live()

	n := &nemesis{cluster: c, rng: rand.New(rand.NewPCG(seed, 1)), counts: make(map[string]int)}
	n.rage(duration())
	during := c.live() - first

	c.schedule(720 * time.Hour) // nothing new begins
	c.settle()
	stop()
	refused := c.said("another replica took the policy over")
	t.Logf("%v; meanwhile %d rotations became live; %d stale owners stopped; consumers: %d calls, %d failed, %d too late to count",
		n.counts, during, refused, users.calls.Load(), len(users.failures), users.late.Load())
	for _, f := range users.failures {
		t.Error(f)
	}
	if refused == 0 {
		t.Error("nobody found that its claim was lost: the nemesis hit nobody")
	}
	if during < len(c.names) {
		t.Errorf("only %d rotations became live under the nemesis", during)
	}
	c.oneKeyEach()
	c.onePromoted(users)
	c.oneStory()
}

// rage harms for d, then mends everything.
func (n *nemesis) rage(d time.Duration) {
	end := time.Now().Add(d)
	crashes := []time.Time{time.Now().Add(d / 4), time.Now().Add(d * 2 / 3)}
	if d > 10*time.Minute {
		for at := end.Add(-d); at.Before(end); at = at.Add(2 * time.Minute) {
			crashes = append(crashes, at)
		}
	}
	for now := time.Now(); now.Before(end); now = time.Now() {
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
	for len(n.mends) > 0 {
		n.undo(time.Now())
		time.Sleep(50 * time.Millisecond)
	}
}

func (n *nemesis) harmed(r *replica) bool {
	for _, m := range n.mends {
		if m.of == r {
			return true
		}
	}
	return false
}

func (n *nemesis) undo(now time.Time) {
	var left []mend
	for _, m := range n.mends {
		if now.Before(m.at) {
			left = append(left, m)
		} else {
			m.how()
		}
	}
	n.mends = left
}

// harm does one thing to a replica for longer than its lease. What is done to a create is done in its middle: the
// request is on its way, and nobody can tell whether it will have its effect.
func (n *nemesis) harm(r *replica, now time.Time) {
	kinds := []string{"kill", "freeze", "cut", "silence", "delay", "create killed", "create frozen", "create delayed"}
	kind := kinds[n.rng.IntN(len(kinds))]
	while := lease + time.Duration(n.rng.Int64N(int64(lease)))
	thaw := func() { r.signal(syscall.SIGCONT) }
	count := func() { n.counted.Lock(); n.counts[kind]++; n.counted.Unlock() }
	undo := r.mend
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
	case "delay":
		r.xai.delay(while)
	case "create killed":
		r.xai.lay(func() { count(); r.signal(syscall.SIGKILL) })
	case "create frozen":
		r.xai.lay(func() { count(); r.signal(syscall.SIGSTOP); time.AfterFunc(while, thaw) })
		while *= 2
		undo = func() { r.mend(); thaw() }
	case "create delayed": // beyond the lease, which cannot be renewed
		r.xai.lay(func() { count(); r.xai.delay(lease); r.database.setCut(true) })
		while *= 2
	}
	if !strings.HasPrefix(kind, "create") {
		count()
	}
	n.mends = append(n.mends, mend{at: now.Add(while), of: r, how: undo})
}

// mend makes the replica's lines whole. Whoever was killed is started again by rage.
func (r *replica) mend() {
	r.database.mend()
	r.xai.mend()
}

// crash kills the database's main process and starts it again.
func (n *nemesis) crash() {
	n.counted.Lock()
	n.counts["crash of the database"]++
	n.counted.Unlock()
	n.postgres.Kill(n)
	n.postgres.Restart(n)
}

// live counts the rotations that became live, by the database.
func (c *cluster) live() (count int) {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.query(ctx, `SELECT count(*) FROM rotations WHERE live_at IS NOT NULL`, &count) // a database that is down counts nothing
	return count
}

// settle waits until every rotation and every quarantine is over.
func (c *cluster) settle() {
	c.Helper()
	for _, r := range c.replicas {
		r.revive()
	}
	eventually(c, 4*time.Minute, "every rotation ends and every attempt is settled", func() bool {
		var moving, unsettled, soon int
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := c.query(ctx, `SELECT (SELECT count(*) FROM rotations WHERE ended_at IS NULL), (SELECT count(*) FROM attempts WHERE state <> 'settled'),
			(SELECT count(*) FROM policies WHERE due_at < extract(epoch FROM now() + interval '1 hour') * 1000000)`, &moving, &unsettled, &soon)
		return err == nil && moving == 0 && unsettled == 0 && soon == 0
	})
}

// oneKeyEach checks that xAI holds exactly one key for each policy: the one that its target holds, and the journal names.
func (c *cluster) oneKeyEach() {
	c.Helper()
	j := c.look()
	defer func() { _ = j.Close() }()
	all, err := j.Summaries(context.Background())
	if err != nil {
		c.Fatal(err)
	}
	byID := make(map[string]string) // key id → its value
	for _, k := range c.sim.Live(team) {
		byID[k.ID] = k.Secret.Reveal()
		if k.Disabled {
			c.Errorf("key %s (%s) is left disabled", k.ID, k.Name)
		}
	}
	if len(byID) != len(c.names) || len(all) != len(c.names) {
		c.Errorf("xAI holds %d keys for %d policies (%d in the journal)", len(byID), len(c.names), len(all))
	}
	for _, s := range all {
		held, err := os.ReadFile(c.path("secrets", s.Policy.Name))
		if err != nil || byID[s.Policy.KeyID] != string(held) || len(held) == 0 {
			c.Errorf("%s: its target does not hold key %s, which the journal names (%v)", s.Policy.Name, s.Policy.KeyID, err)
		}
	}
	if staged, _ := filepath.Glob(c.path("secrets", ".rotator", "*.staged")); len(staged) > 0 {
		c.Errorf("%d values are left staged", len(staged))
	}
}

// onePromoted checks what consumers saw: never two keys of one rotation, and never an old key again.
func (c *cluster) onePromoted(users *consumers) {
	c.Helper()
	j := c.look()
	defer func() { _ = j.Close() }()
	attempts, err := j.Attempts(context.Background(), "research")
	if err != nil {
		c.Fatal(err)
	}
	ofKey := make(map[string]string) // key id → rotation
	for _, a := range attempts {
		ofKey[a.KeyID] = a.Rotation
	}
	rotation := make(map[string]string) // value → rotation
	for _, k := range c.sim.Keys(team) {
		rotation[k.Secret.Reveal()] = ofKey[k.ID]
	}
	values, seen := 0, make(map[string]int) // rotation → how many of its keys were read
	for policy, list := range users.seen {
		once := make(map[string]bool)
		for _, v := range list {
			if values++; rotation[v] == "" || once[v] {
				c.Errorf("%s: a value was read that belongs to no rotation, or came back", policy)
			}
			once[v] = true
			seen[rotation[v]]++
		}
	}
	for r, n := range seen {
		if n > 1 {
			c.Errorf("rotation %s: consumers read %d keys of it", r, n)
		}
	}
	c.Logf("consumers read %d keys of %d rotations; %d attempts to make a key", values, len(seen), len(attempts))
}

// oneStory checks the events.
func (c *cluster) oneStory() {
	c.Helper()
	j := c.look()
	defer func() { _ = j.Close() }()
	var all []journal.Event
	for {
		last := int64(0)
		if len(all) > 0 {
			last = all[len(all)-1].ID
		}
		some, err := j.Events(context.Background(), last, 1000)
		if err != nil {
			c.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	wrong := checkHistory(all)
	for i, w := range wrong {
		if i == 20 {
			c.Error(fmt.Sprintf("and %d more", len(wrong)-i))
			break
		}
		c.Error(w)
	}
	c.Logf("%d events were checked", len(all))
}
