package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/google/uuid"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/traces"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
	"rotator/rotation/schedule"
)

// Program is an open journal and what acts on it: the daemon, or a command that works alone.
type Program struct {
	setup     Setup
	owner     string // names this process in the journal and in notifications
	log       *slog.Logger
	journal   journal.Journal
	engine    *rotation.Engine
	scheduler *schedule.Scheduler // hands out turns to the engine
	api       *api.Server
	traces    *traces.Traces // nil: none are asked for
	pacer     journal.Pacer  // nil where no other process acts

	loading sync.Mutex  // one reload at a time
	awaited []string    // guarded by loading: the policies that other replicas keep in force
	refused string      // guarded by loading: the digest of the problems that were reported last
	mode    config.Mode // guarded by loading: as it was entered last

	mu          sync.Mutex
	files       Files             // guarded by mu
	given       map[string]string // guarded by mu: policy → what the files said of it when the journal last took them
	environment *environment      // guarded by mu
	loaded      api.Loading       // guarded by mu: how files were last read
	read        policies.Loaded   // guarded by mu: what the files of policies said when they were last read
	unsettled   bool              // guarded by mu: what was read is to be read again soon, though no file changes
	swapped     chan struct{}     // guarded by mu; closed when files and environment are replaced
}

// newScheduler makes the scheduler that gives the program's engine its turns.
func newScheduler(p *Program, j journal.Journal, only []string) *schedule.Scheduler {
	limits := p.engine.Limits()
	return schedule.New(schedule.Options{
		Claims: j, Leases: j, Records: j, Replicas: j, Runner: p.engine, Chores: p.engine.Chores, Tidy: p.engine.Tidy,
		Owner: p.owner, Host: hostname(), Version: p.setup.Version, Only: only,
		Observes:    func() bool { return p.present().environment.Observes() },
		Concurrency: limits.Concurrency, Watch: limits.Watch, Log: p.log,
	})
}

// owner names this process in the journal: unique among all that ever share it.
func owner() string {
	return fmt.Sprintf("%s/%d/%s", hostname(), os.Getpid(), uuid.NewString()[:8])
}

func hostname() string {
	host, err := os.Hostname()
	return cmp.Or(host, fmt.Sprint(err))
}

func limits(c *config.Config) rotation.Limits {
	return rotation.Limits{Quarantine: c.Limits.Quarantine.Std(), Watch: c.Limits.Watch.Std(), Concurrency: c.Limits.Concurrency}
}

// hosts are the names that the page may be asked for by, beside this machine's own.
func hosts(c *config.Config) []string {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil || host == "" {
		return nil
	}
	return []string{strings.ToLower(host)}
}

func reasons() []api.ReasonInfo {
	list := make([]api.ReasonInfo, len(reason.All))
	for i, r := range reason.All {
		list[i] = api.ReasonInfo(r)
	}
	return list
}

// knownTeams returns team → id as the journal last saw them.
func (p *Program) knownTeams(ctx context.Context) (map[string]string, error) {
	teams, err := p.journal.Teams(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[string]string, len(teams))
	for _, t := range teams {
		known[t.Name] = t.ID
	}
	return known, nil
}

// view is what is in force at one moment.
type view struct {
	Files
	environment *environment
}

func (p *Program) present() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return view{p.files, p.environment}
}

// Client asks the program as a command asks the daemon.
func (p *Program) Client() *api.Client { return api.InProcess(p.api.Control()) }

// Journal is what the program acts on.
func (p *Program) Journal() journal.Journal { return p.journal }

// Rotate does whatever is due until ctx ends, and returns once the steps in hand are parked.
func (p *Program) Rotate(ctx context.Context) error { return p.scheduler.Run(ctx) }

// RotateOnce does everything that is due or in flight and can move now, and has urgent events sent.
func (p *Program) RotateOnce(ctx context.Context) error {
	return p.telling(ctx, func() error {
		err := p.scheduler.RunOnce(ctx)
		if sealed := p.seal(context.WithoutCancel(ctx)); sealed != nil {
			p.log.Error("no checkpoint of the audit trail", "err", sealed)
		}
		return err
	})
}

// Close ends what the program began; nothing acts on the journal any more.
func (p *Program) Close() error {
	return errors.Join(p.journal.Close(), closeTraces(p.traces))
}
