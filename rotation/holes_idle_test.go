package rotation_test

import (
	"context"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/xai"
	"rotator/xai/xaisim"
)

const whenIdle = "retire: {overlap: 2h, soak: 1h, require_idle: 6h}"

// listener is an environment that notes what usage is asked for.
type listener struct {
	*bench
	from *[]time.Time
}

type heardUsage struct {
	*xai.Management
	from *[]time.Time
}

func (h heardUsage) Usage(ctx context.Context, team string, q xai.UsageQuery) (xai.Usage, error) {
	*h.from = append(*h.from, q.From)
	if q.From.Year() < 2000 {
		return xai.Usage{}, &xai.Error{Op: xai.OpUsage, Class: xai.ClassInvalid, Status: 400}
	}
	return h.Management.Usage(ctx, team, q)
}

func (l listener) Team(context.Context, string) (rotation.Team, error) {
	return rotation.Team{ID: teamID, Keys: l.mgmt, About: heardUsage{l.mgmt, l.from}, Probe: l.infer}, nil
}

// Nothing used the old key lately, so that xAI's usage never names it. It names the key in use: the old one is idle.
func TestKeyThatNobodyUsedIsRetired(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(whenIdle, targetA)
	b.run(10 * 24 * time.Hour)
	old := b.key()
	b.reach(journal.Live)
	b.run(2 * 24 * time.Hour)
	if b.state() != "" || !b.gone(old) {
		t.Errorf("the rotation is %s: %s; the old key gone: %v", b.state(), b.record("chat").Policy.Reason, b.gone(old))
	}
	b.consumersServed()
}

// A rollback before anything went live has no time at which the new key went live.
func TestRollbackFromPromotingAsksRecentUsage(t *testing.T) {
	b := newBench(t, xaisim.Options{})
	b.createFirstKey(whenIdle, targetA)
	b.reach(journal.Promoting)
	young := b.successor()
	var from []time.Time
	b.engine = newEngine("listener", rotation.Options{Journal: b.journal, Environment: listener{b, &from}, Now: b.now, Pause: b.pause})
	b.order(journal.Order{Policy: "chat", Kind: journal.OrderRollback})
	b.run(3 * 24 * time.Hour)
	for _, at := range from {
		if b.clock.Sub(at) > 7*24*time.Hour {
			t.Fatalf("usage was asked from %s on", at)
		}
	}
	if len(from) == 0 || b.state() != "" || !b.gone(young) {
		t.Errorf("usage was asked %d times; the rotation is %s: %s; the new key gone: %v", len(from), b.state(), b.record("chat").Policy.Reason, b.gone(young))
	}
	b.consumersServed()
}
