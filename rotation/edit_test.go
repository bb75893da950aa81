package rotation_test

import (
	"strings"
	"testing"
	"time"

	"rotator/rotation/health"
	"rotator/xai/xaisim"
)

// TestAnEditIsNotLate: an edit that makes a rotation due in the past, such as a shorter schedule, starts it now. No one is woken
// for it before it had as long as any other rotation. An edit of a policy that is due, or overdue, changes nothing about that.
func TestAnEditIsNotLate(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	every := func(schedule string) string {
		return strings.Replace(policyDoc("chat", quick, targetA), "720h", schedule, 1)
	}
	b.load(every("720h"))
	b.run(20 * 24 * time.Hour)
	b.is(health.OK, "")
	b.down("a")
	b.load(every("240h"))
	b.run(health.LateBy / 2)
	b.load(every("230h"))
	b.run(health.LateBy/2 - 5*time.Minute)
	if h := b.record("chat").Policy.Health; h == health.Overdue {
		t.Errorf("it is %s before it could be done", h)
	}
	b.run(10 * time.Minute)
	b.is(health.Overdue, health.RotationLate)
	b.load(every("200h"))
	b.run(time.Minute)
	b.is(health.Overdue, health.RotationLate)
	b.up("a")
	b.run(26 * time.Hour)
	b.is(health.OK, "")
}
