package sqldb

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// group is the one writer of a SQLite journal. What waits when it gets round is written in one transaction: one fsync
// serves many callers, and nothing waits for others to come.
type group struct {
	s    *session
	jobs chan *job
	done chan struct{} // closed when the committer has ended

	mu     sync.RWMutex // guards closed, and the sending on jobs against its closing
	closed bool
}

// job is a transaction that waits to be run.
type job struct {
	do     func(context.Context, tx) error
	looks  bool            // it writes nothing
	gone   <-chan struct{} // the caller's: when closed before the job has begun, it is not begun
	err    error
	answer chan struct{}
}

// maxGroup bounds a transaction, and with it how long its first job waits for its last.
const maxGroup = 256

func newGroup(s *session) *group {
	g := &group{s: s, jobs: make(chan *job, maxGroup), done: make(chan struct{})}
	go g.commitAll()
	return g
}

// run has do run by the committer. It returns when what do wrote is durable, or nothing of it is. A context that ends
// before do begins is an error and do is not run; later it changes nothing, so that the answer is never left open.
func (g *group) run(ctx context.Context, do func(context.Context, tx) error) error {
	return g.hand(ctx, &job{do: do, gone: ctx.Done(), answer: make(chan struct{})})
}

// look is run for do that only reads.
func (g *group) look(ctx context.Context, do func(context.Context, tx) error) error {
	return g.hand(ctx, &job{do: do, looks: true, gone: ctx.Done(), answer: make(chan struct{})})
}

func (g *group) hand(ctx context.Context, j *job) error {
	g.mu.RLock()
	if g.closed {
		g.mu.RUnlock()
		return ErrClosed
	}
	select {
	case g.jobs <- j:
		g.mu.RUnlock()
	case <-ctx.Done():
		g.mu.RUnlock()
		return ctx.Err()
	}
	<-j.answer
	if errors.Is(j.err, context.Canceled) && ctx.Err() != nil {
		return ctx.Err()
	}
	return j.err
}

// close waits until all that was handed in is written.
func (g *group) close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	close(g.jobs)
	g.mu.Unlock()
	<-g.done
	return g.s.close()
}

func (g *group) commitAll() {
	defer close(g.done)
	batch := make([]*job, 0, maxGroup)
	for j := range g.jobs {
		batch = append(batch[:0], j)
	more:
		for len(batch) < maxGroup {
			select {
			case j, ok := <-g.jobs:
				if !ok {
					break more
				}
				batch = append(batch, j)
			default:
				break more
			}
		}
		g.commit(batch)
		for i, j := range batch {
			close(j.answer)
			batch[i] = nil
		}
	}
}

// lost is context.Canceled when nothing waits for the job any more.
func (j *job) lost() error {
	select {
	case <-j.gone:
		return context.Canceled
	default:
		return nil
	}
}

// commit runs the jobs in one transaction, each in a savepoint, so that one's failure undoes its own writes only.
// When the transaction itself fails (the disk is full), every job failed.
func (g *group) commit(batch []*job) {
	if j := batch[0]; len(batch) == 1 && j.looks { // nothing writes meanwhile
		if j.err = j.lost(); j.err == nil {
			j.err = j.do(context.Background(), g.s)
		}
		return
	}
	err := g.s.begin("IMMEDIATE")
	for i := 0; i < len(batch) && err == nil; i++ {
		j := batch[i]
		if j.err = j.lost(); j.err != nil {
			continue
		}
		if len(batch) == 1 {
			// Alone in its transaction it needs no savepoint.
			if j.err = j.do(context.Background(), g.s); j.err != nil {
				g.s.rollback()
				return
			}
			continue
		}
		err = g.inSavepoint(j)
	}
	if err == nil {
		err = g.s.commit()
	}
	if err == nil {
		return
	}
	g.s.rollback()
	for _, j := range batch {
		if j.err == nil {
			j.err = fmt.Errorf("write the journal: %w", err)
		}
	}
}

// inSavepoint runs one job of several. Its error is the transaction's: then nothing of any job will be written.
func (g *group) inSavepoint(j *job) error {
	ctx := context.Background()
	if _, err := g.s.exec(ctx, "SAVEPOINT job"); err != nil {
		return err
	}
	if j.err = j.do(ctx, g.s); j.err != nil {
		// After an error that ended the whole transaction there is no savepoint to go back to.
		if _, err := g.s.exec(ctx, "ROLLBACK TO job"); err != nil {
			return fmt.Errorf("%w, after %w", err, j.err)
		}
	}
	_, err := g.s.exec(ctx, "RELEASE job")
	return err
}
