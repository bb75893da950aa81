package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

const (
	statusPace = time.Minute            // between two lines for `systemctl status`, where no watchdog asks for more
	readyPace  = 100 * time.Millisecond // between two looks at whether the daemon is ready
)

// reportToSystemd notifies the service manager when the daemon is ready, how it does, and that it stops, until ctx ends; see
// sd_notify(3). Ready means that the scheduler looked for work and the journal answered. Where no service manager
// listens, nothing is told and nothing is asked of the journal.
func (p *Program) reportToSystemd(ctx context.Context) {
	r := reporter{tell: p.tellSystemd, lastLook: p.scheduler.LastLook, summaries: func(ctx context.Context) ([]journal.Summary, error) { return p.journal.Summaries(ctx) }}
	var err error
	if r.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		p.log.Warn("the service manager's watchdog is not fed", "err", err)
	}
	if p.tellSystemd("STATUS=starting") {
		r.run(ctx)
	}
}

// announceReload notifies the service manager that files are read again, and returns what tells it how that ended. Before the
// daemon is ready it says nothing: the end of a reload counts as ready.
func (p *Program) announceReload() (ended func(error)) {
	if p.scheduler.LastLook().IsZero() {
		return func(error) {}
	}
	p.tellSystemd(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() + "STATUS=reading configuration and policies")
	return func(err error) {
		status := "configuration and policies read"
		if err != nil {
			status = "configuration refused, what it names stays as it was: " + strings.ReplaceAll(shorten(err.Error(), 300), "\n", "; ")
		}
		p.tellSystemd(daemon.SdNotifyReady + "\nSTATUS=" + status)
	}
}

// tellSystemd sends a state to the service manager, and reports whether one listens.
func (p *Program) tellSystemd(state string) bool {
	told, err := daemon.SdNotify(false, state)
	if err != nil {
		p.log.Warn("the service manager does not hear the daemon", "err", err)
	}
	return told
}

// reporter notifies the service manager how the daemon does.
type reporter struct {
	tell      func(state string) bool
	watchdog  time.Duration // after which a daemon that says nothing is restarted; 0: never
	lastLook  func() time.Time
	summaries func(context.Context) ([]journal.Summary, error)
}

// run reports until ctx ends.
func (r reporter) run(ctx context.Context) {
	defer r.tell(daemon.SdNotifyStopping + "\nSTATUS=parking the steps in hand")
	for r.lastLook().IsZero() {
		if !sleep(ctx, readyPace) {
			return
		}
	}
	for !r.report(ctx, daemon.SdNotifyReady) {
		if !sleep(ctx, readyPace) {
			return
		}
	}
	pace := statusPace
	if r.watchdog > 0 {
		pace = min(pace, r.watchdog/4) // a late one, or a journal that answers late once, does no harm
	}
	for sleep(ctx, pace) {
		r.report(ctx, daemon.SdNotifyWatchdog)
	}
}

// report writes state, and returns whether all is well: otherwise it says what is not. A daemon whose scheduler or journal
// is silent does not feed the watchdog: it is restarted, and goes on where the journal says.
func (r reporter) report(ctx context.Context, state string) (well bool) {
	if ago := time.Since(r.lastLook()); r.watchdog > 0 && ago > r.watchdog {
		r.tell(fmt.Sprintf("STATUS=the scheduler last looked for work %s ago", ago.Round(time.Second)))
		return false
	}
	within := statusPace
	if r.watchdog > 0 {
		within = r.watchdog / 2
	}
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	all, err := r.summaries(asking)
	switch {
	case ctx.Err() != nil: // what stops needs no report
	case err != nil:
		r.tell("STATUS=the journal does not answer; see the log")
	default:
		r.tell(state + "\nSTATUS=" + statusLine(all, time.Now()))
		return true
	}
	return false
}

// statusLine says in one line how the policies do.
func statusLine(all []journal.Summary, now time.Time) string {
	rotating, waiting, held := 0, 0, 0
	for _, s := range all {
		if s.Rotation != nil {
			rotating++
		}
		if reason.NeedsHuman(s.Policy.Reason) {
			waiting++
		}
		if s.Hold.Active(now) {
			held++
		}
	}
	return fmt.Sprintf("%s: %d in rotation, %d waiting for a human, %d held", CountPolicies(len(all)), rotating, waiting, held)
}
