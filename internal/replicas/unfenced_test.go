package replicas

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestTheNemesisFinds does to replicas of a build that refuses no stale owner (no deadline, no guard by epoch, no
// read-back, no fresh look before a key is destroyed) what the nemesis does by chance, aimed at where it hurts. The
// checks that are silent otherwise find that consumers read dead keys, and that the journal contradicts itself. The
// product, treated the same, keeps its promises.
func TestTheNemesisFinds(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]func() (string, error){"product": binary, "unfenced": unfenced} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 2, 3)
			c.complain()
			for _, r := range c.replicas {
				r.program = program
			}
			users, stop := c.rotating(720 * time.Hour)
			for _, policy := range c.names {
				c.replaceBehind(policy)
			}
			if name == "product" {
				c.nothingLost(users, stop)
				return
			}
			stop()
			dead, story := users.found(), c.oneStory()
			t.Logf("%d calls with dead keys, %d contradictions in the journal", len(dead), len(story))
			if len(dead) == 0 || len(story) == 0 {
				t.Fatal("without its fences a replica breaks nothing that is found")
			}
			t.Logf("the first: %s; %s", dead[0], story[0])
		})
	}
}

// replaceBehind freezes the owner of a policy in the middle of the last proof before he promotes a key. What he staged is
// lost; the other takes over, deletes that key, makes another, and is frozen at the same place. Then the first goes on
// where he was, and then the other.
func (c *cluster) replaceBehind(policy string) {
	c.Helper()
	owner, other := c.replicas[0], c.replicas[1]
	other.signal(syscall.SIGSTOP)
	proving := owner.freezeAt(chat, 1)
	ordered := make(chan int, 1) // who is frozen does not answer
	go func() {
		_, code := owner.order("rotate", policy, "--supersede", "--wait", "none")
		ordered <- code
	}()
	c.await(proving, policy+" proves its key")
	staged, _ := filepath.Glob(c.path("secrets", ".rotator", "*.staged"))
	for _, file := range staged {
		if err := os.Remove(file); err != nil {
			c.Fatal(err)
		}
	}
	proving = other.freezeAt(chat, 1)
	other.signal(syscall.SIGCONT)
	c.await(proving, policy+" proves another key")

	owner.signal(syscall.SIGCONT)
	time.Sleep(2 * c.lease) // what he still does, he does now
	other.signal(syscall.SIGCONT)
	if code := <-ordered; code != 0 {
		c.Errorf("%s: the order ends with %d", policy, code)
	}
	time.Sleep(c.lease)
}

// freezeAt freezes the replica in the middle of its n-th request of a kind from now on.
func (r *replica) freezeAt(request string, n int) (frozen chan struct{}) {
	frozen = make(chan struct{})
	trap := func() { r.signal(syscall.SIGSTOP); close(frozen) }
	for range n - 1 {
		next := trap
		trap = func() { r.xai.lay(request, next) }
	}
	r.xai.lay(request, trap)
	return frozen
}

// await waits for another process.
func (c *cluster) await(done <-chan struct{}, what string) {
	c.Helper()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		c.Fatalf("not within 10 minutes: %s", what)
	}
}
