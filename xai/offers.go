package xai

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrNotOffered is what an error of a call is (see errors.Is) when nothing lives at the call's address: a 404 that is not
// xAI's own JSON, or a 405. The call had no effect. What xAI's public guides leave out is then not asked for again for a
// day; see [Management.NotOffered].
var ErrNotOffered = errors.New("xAI does not offer this call")

// notOffered is in Error.Code.
const notOffered = "not_offered"

// offersHeld is how long it is remembered that a route is not there.
const offersHeld = 24 * time.Hour

// offers remembers which routes of one address are not there.
type offers struct {
	mu    sync.Mutex
	until map[string]time.Time // route → when it is asked for again
}

// lacks reports whether the route is known not to be there. "" is a route that is always asked for.
func (o *offers) lacks(route string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.Before(o.until[route])
}

// note remembers that the route is not there.
func (o *offers) note(route string, now time.Time) {
	if route == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until == nil {
		o.until = map[string]time.Time{}
	}
	o.until[route] = now.Add(offersHeld)
}

// forget has the route asked for again.
func (o *offers) forget(route string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.until, route)
}

func (o *offers) names(now time.Time) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	names := []string{}
	for route, until := range o.until {
		if now.Before(until) {
			names = append(names, route)
		}
	}
	slices.Sort(names)
	return names
}

// NotOffered names the routes that were found missing at this address within the last day, such as
// "GET /auth/management-keys/validation". They are not asked for meanwhile.
func (m *Management) NotOffered() []string { return m.cl.offers.names(m.cl.now()) }

// NotOffered is as [Management.NotOffered].
func (i *Inference) NotOffered() []string { return i.cl.offers.names(i.cl.now()) }
