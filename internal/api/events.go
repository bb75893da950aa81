package api

import (
	"context"
	"net/http"
	"time"

	"rotator/rotation/journal"
)

const (
	longPoll  = 25 * time.Second       // how long a question for events waits for the first one
	eventPace = 250 * time.Millisecond // between two looks at the journal: another replica may have written
	eventPage = 1000                   // events in one answer
)

func (c *Server) getEvents(r *http.Request) (any, error) {
	q := r.URL.Query()
	if len(q["policy"]) > 1 {
		return nil, usage("events are of one policy or of all")
	}
	if !q.Has("after") {
		last, err := c.present(r.Context())
		return Events{Next: last, Events: []EventRow{}}, err
	}
	after, err := number(q.Get("after"), "after", 0, 1<<62)
	if err != nil {
		return nil, err
	}
	return c.follow(r.Context(), after, q.Get("policy"))
}

// follow returns the next events after an id, and waits for one while there is none.
func (c *Server) follow(ctx context.Context, after int64, policy string) (Events, error) {
	answer := Events{Next: after, Events: []EventRow{}}
	over := time.NewTimer(longPoll)
	defer over.Stop()
	look := time.NewTicker(eventPace)
	defer look.Stop()
	for {
		found, err := c.o.Journal.Events(ctx, answer.Next, eventPage)
		if err != nil {
			return answer, err
		}
		for _, e := range found {
			answer.Next = e.ID
			if policy == "" || e.Policy == policy {
				answer.Events = append(answer.Events, eventRow(e))
			}
		}
		switch {
		case len(answer.Events) > 0:
			return answer, nil
		case len(found) == eventPage:
			continue
		}
		select {
		case <-look.C:
		case <-over.C:
			return answer, nil
		case <-ctx.Done():
			return answer, ctx.Err()
		}
	}
}

// present is the id of the last event, 0 when there is none.
func (c *Server) present(ctx context.Context) (int64, error) {
	return c.o.Journal.LastEvent(ctx)
}

// before returns the id of the last event for which later does not hold, 0 when there is none. Events for which it holds
// must follow all others. The journal reads forwards from an id only, so the id is searched by halving.
func (c *Server) before(ctx context.Context, later func(journal.Event) bool) (int64, error) {
	earlierAbove := func(id int64) (bool, error) { // is there one such event with an id above?
		found, err := c.o.Journal.Events(ctx, id, 1)
		return len(found) > 0 && !later(found[0]), err
	}
	low, high := int64(0), int64(1) // the answer is not below low
	for ; ; high *= 2 {
		more, err := earlierAbove(high - 1)
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
		low = high
	}
	for low < high {
		middle := low + (high-low)/2
		more, err := earlierAbove(middle)
		if err != nil {
			return 0, err
		}
		if more {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}
