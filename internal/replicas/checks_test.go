package replicas

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"rotator/rotation/journal"
)

// nothingLost ends the rotations and checks what must hold then.
func (c *cluster) nothingLost(users *consumers, stop func()) {
	c.Helper()
	c.schedule(720 * time.Hour) // nothing new begins
	c.settle()
	stop()
	c.Logf("consumers: %d calls, %d failed, %d too late to count", users.calls.Load(), len(users.failures), users.late.Load())
	c.report("I1", users.failures)
	c.report("I2", c.oneKeyEach())
	c.report("I6", c.onePromoted(users))
	c.report("I6", c.oneStory())
}

// live counts the rotations that became live, by the database.
func (c *cluster) live() (count int) {
	c.Helper()
	_ = c.query(`SELECT count(*) FROM rotations WHERE live_at IS NOT NULL`, &count) // a database that is down counts nothing
	return count
}

// settle waits until every rotation and every quarantine is over.
func (c *cluster) settle() {
	c.Helper()
	eventually(c, "every rotation ends, no key is left over and nothing is staged", func() bool {
		for _, r := range c.replicas {
			r.revive()
		}
		var moving, unsettled, soon int
		err := c.query(`SELECT (SELECT count(*) FROM rotations WHERE ended_at IS NULL),
			(SELECT count(*) FROM keys WHERE state NOT IN ('live', 'deleted', 'absent', 'forgotten'))
			+ (SELECT count(*) FROM effects WHERE kind IN ('stage', 'unstage') AND closed_at IS NULL),
			(SELECT count(*) FROM policies WHERE due_at < extract(epoch FROM now() + interval '1 hour') * 1000000)`, &moving, &unsettled, &soon)
		return err == nil && moving == 0 && unsettled == 0 && soon == 0
	})
}

// wrongs are what checks found.
type wrongs []string

func (w *wrongs) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

// report fails the test with the first of them, each of which shows that an invariant was broken.
func (c *cluster) report(invariant string, found wrongs) {
	c.Helper()
	const most = 20
	for _, w := range found[:min(len(found), most)] {
		c.Errorf("%s: %s", invariant, w)
	}
	if len(found) > most {
		c.Errorf("and %d more", len(found)-most)
	}
}

// oneKeyEach checks that xAI holds exactly one key for each policy: the one that its target holds, and the journal names.
func (c *cluster) oneKeyEach() (wrong wrongs) {
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
			wrong.add("key %s (%s) is left disabled", k.ID, k.Name)
		}
	}
	if len(byID) != len(c.names) || len(all) != len(c.names) {
		wrong.add("xAI holds %d keys for %d policies (%d in the journal)", len(byID), len(c.names), len(all))
	}
	for _, s := range all {
		held, err := os.ReadFile(c.path("secrets", s.Policy.Name))
		if err != nil || byID[s.Policy.KeyID] != string(held) || len(held) == 0 {
			wrong.add("%s: its target does not hold key %s, which the journal names (%v)", s.Policy.Name, s.Policy.KeyID, err)
		}
	}
	if staged, _ := filepath.Glob(c.path("secrets", ".rotator", "*.staged")); len(staged) > 0 {
		wrong.add("%d values are left staged", len(staged))
	}
	return wrong
}

// onePromoted checks what consumers saw: never two keys of one rotation, and never an old key again.
func (c *cluster) onePromoted(users *consumers) (wrong wrongs) {
	c.Helper()
	j := c.look()
	defer func() { _ = j.Close() }()
	var names []string
	for _, k := range c.sim.Keys(team) {
		names = append(names, k.Name)
	}
	keys, err := j.KeysByName(context.Background(), names)
	if err != nil {
		c.Fatal(err)
	}
	ofKey := make(map[string]string) // key id → rotation
	for _, k := range keys {
		ofKey[k.ID] = k.Rotation
	}
	rotation := make(map[string]string) // value → rotation
	for _, k := range c.sim.Keys(team) {
		rotation[k.Secret.Reveal()] = ofKey[k.ID]
	}
	values, seen := 0, make(map[string]int) // rotation → how many of its keys were read
	users.mu.Lock()
	defer users.mu.Unlock()
	for policy, list := range users.seen {
		once := make(map[string]bool)
		for _, v := range list {
			// A key that xAI never knew fails its consumer; the simulator forgets the oldest of thousands that were deleted.
			of, known := rotation[v]
			if values++; known && of == "" || once[v] {
				wrong.add("%s: a value was read that belongs to no rotation, or came back", policy)
			}
			once[v] = true
			if known {
				seen[of]++
			}
		}
	}
	for r, n := range seen {
		if n > 1 {
			wrong.add("rotation %s: consumers read %d keys of it", r, n)
		}
	}
	c.Logf("consumers read %d keys of %d rotations; %d keys were made", values, len(seen), len(keys))
	return wrong
}

// oneStory checks the events.
func (c *cluster) oneStory() wrongs {
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
	return checkHistory(all)
}
