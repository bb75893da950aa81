package rotation_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

// torn is a journal whose answers to commits are lost on the way back, once for each that is due; or it was not asked.
type torn struct {
	journal.Journal
	due   atomic.Int64
	asked bool
}

func (j *torn) Commit(ctx context.Context, c journal.Claim, rec *journal.Record, release bool, ev ...journal.Event) error {
	if j.due.Load() == 0 {
		return j.Journal.Commit(ctx, c, rec, release, ev...)
	}
	j.due.Add(-1)
	if !j.asked {
		return errFault
	}
	was := *rec // whoever gets no answer does not know it for written
	if err := j.Journal.Commit(ctx, c, rec, release, ev...); err != nil {
		return err
	}
	*rec = was
	return errFault
}

// A commit whose answer is lost may have been written, or not. That costs the policy a pause, and is no defect of the
// program.
func TestAnswerToACommitIsLost(t *testing.T) {
	for n := range 12 {
		lost, written := n/2, n%2 == 0
		t.Run(fmt.Sprintf("after %d others, written %t", lost, written), func(t *testing.T) {
			bubble(t, func(b *bench) {
				j := &torn{Journal: b.journal, asked: written}
				commits := 0
				b.engine = newEngine("torn", rotation.Options{Journal: j, Environment: b, Now: b.now,
					Observe: func(ctx context.Context, _ rotation.Step) (context.Context, func(rotation.Step)) {
						if commits == lost {
							j.due.Store(1)
						}
						commits++
						return ctx, func(rotation.Step) {}
					}})
				b.load(policyDoc("chat", quick, targetA))
				b.runs(500 * time.Millisecond)
				if p := b.record("chat").Policy; p.Reason == reason.Internal {
					b.violated("taken for a defect: %s", p.Error)
				}
				b.runs(time.Hour)
				b.real = false
				b.runUntilIdle()
				b.checkEnded()
			})
		})
	}
}
