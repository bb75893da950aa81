package rotation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"rotator/rotation/journal"
	"rotator/xai/xaisim"
)

// rehearsed runs a rehearsal and returns assumption → answer.
func rehearsed(b *bench) map[string]string {
	b.t.Helper()
	id := b.order(journal.Order{Policy: "chat", Kind: journal.OrderRehearse})
	b.run(time.Hour)
	if o, err := b.journal.OrderByID(b.t.Context(), id); err != nil || o.Refused != "" || o.DoneAt.IsZero() {
		b.t.Fatalf("the order was not carried out: %+v, %v; %+v", o, err, b.record("chat").Policy)
	}
	events, err := b.journal.Events(b.t.Context(), 0, 10_000)
	if err != nil {
		b.t.Fatal(err)
	}
	answers := map[string]string{}
	for _, e := range events {
		if e.Kind == journal.Assumption {
			answers[e.Data["assumption"]] = e.Data["answer"]
			b.t.Logf("%s: %s %s", e.Data["assumption"], e.Data["answer"], e.Data["detail"])
		}
	}
	return answers
}

func TestRehearsal(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{ListLag: 20 * time.Second, DeleteLag: 30 * time.Second, DisableLag: 5 * time.Second})
	b.load(policyDoc("chat", quick, targetA))
	b.run(time.Hour)
	answers := rehearsed(b)
	if len(answers) != 13 {
		t.Errorf("%d assumptions were looked at", len(answers))
	}
	for what, answer := range answers {
		if answer != "confirmed" {
			t.Errorf("%s: %s", what, answer)
		}
	}
	b.settled()
	b.check()
}

// TestRehearsalWithoutAModel: no one knows which model a key may talk to that may talk to all: that is no failure of xAI's.
func TestRehearsalWithoutAModel(t *testing.T) {
	t.Parallel()
	b := newBench(t, xaisim.Options{})
	b.load(strings.Replace(policyDoc("chat", "verify: {method: whoami}"+quick, targetA), "api-key:model:grok-4", "api-key:model:*", 1))
	b.run(time.Hour)
	for what, answer := range rehearsed(b) {
		if want := map[bool]string{true: "not asked", false: "confirmed"}[strings.HasPrefix(what, "a chat call")]; answer != want {
			t.Errorf("%s: %s, want %s", what, answer, want)
		}
	}
	b.settled()
}

func (b *bench) pause(ctx context.Context, d time.Duration) error {
	if b.real {
		time.Sleep(d)
		return ctx.Err()
	}
	b.clock = b.clock.Add(d)
	return nil
}
