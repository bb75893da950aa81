package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/internal/traces"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/rotation/reason"
)

// files is what the configuration and the policies say: all that is read from files, and nothing that needs anybody.
type files struct {
	config   *config.Config
	policies map[string]*policies.Policy
}

// readFiles loads configuration and policies, or returns every problem of both.
func (a *app) readFiles() (files, error) {
	c, err := config.Load(a.configFile(), a.env)
	if err != nil {
		return files{}, err
	}
	ps, err := policies.Load(c.Policies, c.PolicyOptions())
	if err != nil {
		return files{}, err
	}
	return files{c, ps}, nil
}

// specs are the policies as the journal records them.
func (f files) specs() []journal.Spec {
	specs := make([]journal.Spec, 0, len(f.policies))
	for _, name := range slices.Sorted(maps.Keys(f.policies)) {
		p := f.policies[name]
		spec := journal.Spec{Name: p.Name, Team: p.Team, Owner: p.Owner, RenamedFrom: p.RenamedFrom, Canonical: string(p.Canonical())}
		for _, t := range p.Targets {
			spec.Targets = append(spec.Targets, journal.TargetID{Store: t.Store, Path: t.Path, Field: t.Field})
		}
		specs = append(specs, spec)
	}
	return specs
}

// program is an open journal and what acts on it: the daemon, or a command that works alone.
type program struct {
	app     *app
	owner   string // names this process in the journal and in notifications
	log     *slog.Logger
	journal journal.Journal
	engine  *rotation.Engine
	api     *api.Server
	traces  *traces.Traces // nil: none are asked for
	pacer   journal.Pacer  // nil where no other process acts

	loading sync.Mutex // one reload at a time
	refused string     // guarded by loading: the problems of the last reload that was refused

	mu      sync.Mutex
	files   files         // guarded by mu
	world   *world        // guarded by mu
	swapped chan struct{} // guarded by mu; closed when files and world are replaced
}

// openProgram opens the journal to act: no other process has it from here on. only names the policies that the engine
// acts for; without a name, all.
func (a *app) openProgram(ctx context.Context, only ...string) (*program, error) {
	f, err := a.readFiles()
	if err != nil {
		return nil, err
	}
	j, err := a.openJournal(ctx, f.config, false)
	if err != nil {
		return nil, err
	}
	claimed, err := a.claimed(ctx, f.config, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	p, err := a.over(ctx, f, j, use{claimed: claimed, only: only})
	if err != nil {
		return nil, err
	}
	if err := j.SetPolicies(ctx, time.Now(), f.specs()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.tellRestored(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (a *app) openJournal(ctx context.Context, c *config.Config, readOnly bool) (journal.Journal, error) {
	address, err := c.State.Address(ctx)
	if err != nil {
		return nil, usage(err, "`state` in "+c.File+" says where the journal is")
	}
	o := journalOptions(c.State)
	o.ReadOnly, o.Lease = readOnly, c.Limits.Lease.Std()
	return sqldb.Open(ctx, address.Reveal(), o)
}

// journalOptions tell the journal's address as it is now: a password may have been replaced since.
func journalOptions(s config.State) sqldb.Options {
	return sqldb.Options{
		Program: "rotator " + programVersion(),
		Address: func(ctx context.Context) (string, error) {
			address, err := s.Address(ctx)
			return address.Reveal(), err
		},
		Refused: func(address string) { s.Refused(secret.New(address)) },
	}
}

// use is what a program is opened for.
type use struct {
	look    bool     // nothing is acted on
	claimed bool     // the journal is this installation's
	only    []string // the policies that are acted for; none: all
}

// newProgram puts together what acts on a journal. It starts nothing. Who only looks is told where things stand also while
// stores or teams cannot be made.
func (a *app) newProgram(ctx context.Context, f files, j journal.Journal, u use) (*program, error) {
	p := &program{app: a, owner: owner(), log: a.log, journal: j, files: f, swapped: make(chan struct{})}
	if !f.config.State.SQLite() {
		p.pacer = j
	}
	known, err := p.knownTeams(ctx)
	if err != nil {
		return nil, err
	}
	if p.world, err = newWorld(ctx, f.config, known, p.hooks(), a.log); err != nil {
		if !u.look {
			return nil, err
		}
		p.world = &world{missing: err}
	}
	if p.traces, err = newTraces(f.config.Traces, p.owner, a.log); err != nil {
		return nil, err
	}
	p.engine = rotation.New(rotation.Options{
		Journal: j, Environment: p.world, Log: a.log, Limits: limits(f.config), Only: u.only, Ordered: len(u.only) > 0, Unclaimed: !u.claimed && !u.look,
		Owner: p.owner, Host: hostname(), Version: programVersion(),
		Observe: p.observeStep,
	})
	p.api = api.New(api.Options{
		Journal: j, Scheduler: p.engine, Actions: p, Reasons: reasons(), Teams: func() []string { return p.present().world.names },
		Stores: func() []string { return slices.Sorted(maps.Keys(p.present().world.stores)) }, Spans: p.spans,
		Hosts: hosts(f.config), Version: programVersion(), Commit: programCommit(), Log: a.log,
	})
	return p, nil
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
func (p *program) knownTeams(ctx context.Context) (map[string]string, error) {
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
	files
	world *world
}

func (p *program) present() view {
	p.mu.Lock()
	defer p.mu.Unlock()
	return view{p.files, p.world}
}

// close ends what the program began; nothing acts on the journal any more.
func (p *program) close() error {
	return errors.Join(p.journal.Close(), p.closeTraces())
}

// userName says who gives an order.
func (a *app) userName() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if v := strings.TrimSpace(a.env.Get(name)); v != "" {
			return v
		}
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
