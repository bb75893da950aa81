package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"rotator/rotation/journal"
)

const (
	lookWithin  = 30 * time.Second // the scheduler lives when it looked within this time
	readyWithin = 2 * time.Second  // the journal is ready when it answers within this time, at most
)

func (c *Server) public(past Past) http.Handler {
	mux, views := http.NewServeMux(), newGate(viewsAtOnce)
	mux.Handle("GET /{$}", nearby(views.limit(http.HandlerFunc(c.page))))
	mux.Handle("GET /api/v1/status", nearby(views.limit(c.answer(c.seenStatus, selectors...))))
	mux.Handle("GET /api/v1/history", nearby(newGate(historyAtOnce).limit(c.answer(historyOf(past), "policy", "limit"))))
	mux.Handle("/api/", nearby(http.NotFoundHandler()))
	mux.Handle("GET /metrics", newGate(scrapesAtOnce).limit(promhttp.HandlerFor(c.meters.registry, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", c.healthz)
	mux.HandleFunc("GET /readyz", c.readyz)
	return c.guard(mux)
}

// guard refuses every method that could change something, and every name that a foreign page may have bound to this
// address (DNS rebinding), and tells browsers to trust nothing here.
func (c *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this address only shows; orders go through the rotator command", http.StatusMethodNotAllowed)
		case r.TLS == nil && !c.answersTo(r.Host): // over TLS the certificate's name keeps such a page away
			http.Error(w, "unknown host: ask by IP address, localhost, or a name in the configuration", http.StatusMisdirectedRequest)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// answersTo reports whether a Host header names this address. An IP address always does: a page can make a browser take
// a name of its own for this address, but never an address for another.
func (c *Server) answersTo(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return name == "localhost" || slices.Contains(c.o.Hosts, name)
}

// seenStatus is the status from the snapshot: a caller that asks often costs the journal nothing.
func (c *Server) seenStatus(r *http.Request) (any, error) {
	s, err := c.seen.get()
	if err != nil {
		return nil, err
	}
	only := selectionOf(r.URL.Query())
	found, err := named(only.Policies, s.policies)
	if err != nil {
		return nil, err
	}
	if found, err = only.among(found); err != nil {
		return nil, err
	}
	targets, err := s.targets()
	if err != nil {
		return nil, err
	}
	return withTargets(c.statusRows(found), targets), nil
}

// healthz answers whether this process does its work: nothing but a restart helps when it does not.
func (c *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	var wrong []string
	if why := c.asleep(); why != "" {
		wrong = append(wrong, why)
	}
	tell(w, wrong)
}

// asleep says why the scheduler does not count as alive, "" when it does. One that has just begun may still look.
func (c *Server) asleep() string {
	if c.o.Scheduler == nil {
		return "no scheduler runs here"
	}
	last, _ := c.o.Scheduler.LastTry() // a journal that is down is no reason to start this process again
	if last.Before(c.started) {
		last = c.started
	}
	if ago := c.o.Now().Sub(last); ago > lookWithin {
		return fmt.Sprintf("the scheduler last looked for work %s ago", ago.Round(time.Second))
	}
	return ""
}

// readyz answers whether this process can do its work: it may lack what others must bring. A store in trouble is reported, and
// no more: rotations with targets elsewhere go on. Only when no store is of use can nothing be done.
func (c *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	var missing, besides []string
	if why := c.asleep(); why != "" {
		missing = append(missing, why)
	} else if _, err := c.o.Scheduler.LastTry(); err != nil {
		missing = append(missing, "the journal hands out no work; see the log") // read-only, say: it may still answer below
	}
	within := readyWithin
	if lease := c.o.Journal.Lease(); lease > 0 {
		within = min(within, lease/5) // as long as a renewal may take: one that is slower keeps no claim
	}
	known, err := c.teams(within)
	if err != nil {
		c.o.Log.Warn("not ready", "err", err)
		missing = append(missing, "the journal does not answer; see the log")
	} else if c.o.Teams != nil {
		for _, name := range c.o.Teams() {
			switch why, ever := teamTrouble(name, known); {
			case why == "":
			case ever:
				besides = append(besides, why)
			default:
				missing = append(missing, why)
			}
		}
	}
	if c.o.Stores != nil {
		troubled, gone := c.answers.troubled(c.o.Stores(), c.o.Now())
		if gone {
			missing = append(missing, troubled...)
		} else {
			besides = append(besides, troubled...)
		}
	}
	tell(w, missing, append(besides, c.configuration()...)...)
}

// teams asks the journal for its teams, once for all who ask at the same time.
func (c *Server) teams(within time.Duration) ([]journal.Team, error) {
	known, err, _ := c.asking.Do("teams", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), within) // not of the first caller
		defer cancel()
		return c.o.Journal.Teams(ctx)
	})
	if err != nil {
		return nil, err
	}
	return known.([]journal.Team), nil
}

// teamTrouble says what is not as it should be with a team, "" when nothing is, and whether its management key was ever good:
// nothing can be done for a team of which nothing is known.
func teamTrouble(name string, known []journal.Team) (why string, ever bool) {
	i := slices.IndexFunc(known, func(t journal.Team) bool { return t.Name == name })
	if i < 0 || known[i].ValidatedAt.IsZero() && known[i].Error == "" {
		return "team " + name + ": its management key was not validated yet", false
	}
	if t := known[i]; t.Error != "" {
		return "team " + name + ": " + t.Error, !t.ValidatedAt.IsZero()
	}
	return "", true
}

// tell answers a probe: ok, or what is wrong, one thing a line; then what is not as it should be and stops nothing.
func tell(w http.ResponseWriter, wrong []string, besides ...string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(wrong) == 0 {
		wrong = []string{"ok"}
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, strings.Join(append(wrong, besides...), "\n"))
}
