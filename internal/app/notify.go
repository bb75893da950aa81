package app

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"rotator/internal/api"
	"rotator/internal/notify"
	"rotator/rotation/journal"
)

// notifier makes what tells people of urgent events.
func (p *Program) notifier() *notify.Notifier {
	o := notify.Options{Journal: p.journal, Source: p.owner, Log: p.log, Observe: p.api.ObserveNotify}
	if w := p.present().Config.Notify.Webhook; w != nil {
		o.Webhook = &notify.Webhook{URL: w.URL.Read, Secret: w.Secret.Read}
	}
	o.Trails = trails(p.present().Config)
	return notify.New(o)
}

// flushTime is how long `run --once` waits at its end for its events to be delivered: longer than the turn of another
// process that ended just now. What is left is sent by the next run.
const flushTime = 40 * time.Second

// telling runs do while events are sent to the webhook and to the trails, where there are some, and waits for the last of them.
func (p *Program) telling(ctx context.Context, do func() error) error {
	c := p.present().Config
	names := slices.Sorted(maps.Keys(trails(c)))
	if c.Notify.Webhook != nil {
		names = append(names, "webhook")
	}
	if len(names) == 0 {
		return do()
	}
	telling, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { _ = p.notifier().Run(telling) }) // it ends with its context only
	defer working.Wait()
	defer stop()
	err := do()
	flushing, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if flushed := flushed(flushing, p.Client(), p.journal, names); flushed != nil && ctx.Err() == nil {
		p.log.Warn("not all events were sent; the next run sends them", "err", flushed)
	}
	return err
}

// flushed waits until every way out has every event that there is now.
func flushed(ctx context.Context, c *api.Client, j journal.Journal, names []string) error {
	last, err := c.Present(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		behind := false
		for _, name := range names {
			text, err := j.Meta(ctx, "notify/"+name)
			if err != nil {
				return err
			}
			at, _ := strconv.ParseInt(text, 10, 64) // no number: nothing was sent yet
			behind = behind || at < last
		}
		if !behind {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
