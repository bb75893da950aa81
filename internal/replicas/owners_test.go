package replicas

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFrozenOwners freezes owners in the middle of the proof before a promote, replaces their keys behind their backs, and lets
// them go on: nothing is lost.
func TestFrozenOwners(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, 3)
	c.complain()
	users, stop := c.rotating(720 * time.Hour)
	for _, policy := range c.names {
		c.replaceBehind(policy)
	}
	c.nothingLost(users, stop)
}

// TestTheChecksFind shows that the check of what consumers read can fail: a key that dies at xAI is found.
func TestTheChecksFind(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 1)
	users, stop := c.rotating(720 * time.Hour)
	for _, k := range c.sim.Live(team) {
		c.sim.DisableKey(k.ID)
	}
	for range 200 {
		if len(users.found()) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	if len(users.found()) == 0 {
		t.Error("calls with a dead key were not found")
	}
}

// replaceBehind freezes the owner of a policy in the middle of the last proof before he promotes a key. What he staged is
// lost; the other takes over, deletes that key, makes another, and is frozen at the same place. Then the first goes on
// where he was, and then the other.
func (c *cluster) replaceBehind(policy string) {
	c.Helper()
	owner, other := c.replicas[0], c.replicas[1]
	other.freeze()
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
	trap := func() { r.freeze(); close(frozen) }
	for range n - 1 {
		next := trap
		trap = func() { r.xai.lay(request, next) }
	}
	r.xai.lay(request, trap)
	return frozen
}

// freeze stops the replica at an instant at which nothing holds a lock of the file store. A process that froze with one would keep
// the other from the file for as long as it is frozen.
func (r *replica) freeze() {
	r.Helper()
	file, err := os.OpenFile(r.path("secrets", ".rotator", "lock"), os.O_RDWR, 0)
	if err != nil {
		r.Error(err)
		return
	}
	defer file.Close()
	for range 10_000 {
		r.signal(syscall.SIGSTOP)
		time.Sleep(5 * time.Millisecond)        // a thread on another processor may still run for an instant
		all := unix.Flock_t{Type: unix.F_WRLCK} // from the first byte to the last
		if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &all); err != nil {
			r.Error(err)
			return
		}
		if all.Type == unix.F_UNLCK {
			return
		}
		r.signal(syscall.SIGCONT)
		time.Sleep(time.Millisecond)
	}
	r.Error("the file store is locked all the time")
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
