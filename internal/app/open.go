package app

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/internal/secret"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// Open opens the journal to act: no other process has it from here on. only names the policies that the engine
// acts for; without a name, all. Broken policies, and stores and teams that cannot be made, are no error but what
// [Program.LoadProblems] tells.
func (s Setup) Open(ctx context.Context, only ...string) (*Program, error) {
	c, err := s.Configuration()
	if err != nil {
		return nil, err
	}
	j, err := s.OpenJournal(ctx, c, false)
	if err != nil {
		return nil, err
	}
	claimed, err := s.claimed(ctx, c, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	r, err := readPolicies(ctx, c, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	p, err := s.over(ctx, r.Files, j, use{claimed: claimed, only: only})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(p.takeFirst(ctx, r), p.tellRestored(ctx), p.enterMode(ctx)); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// takeFirst hands the first reading of a program to the journal.
func (p *Program) takeFirst(ctx context.Context, r reading) error {
	gaps, err := p.gaps(ctx, r.Files)
	if err != nil {
		return err
	}
	r.problems = slices.Concat(p.environment.problems, gaps)
	if err := p.take(ctx, r, "start"); err != nil {
		return err
	}
	p.tellProblems(r.all(), false)
	return nil
}

// OpenJournal opens the journal that the configuration names: to act, alone where it is SQLite, or read-only beside others.
func (s Setup) OpenJournal(ctx context.Context, c *config.Config, readOnly bool) (journal.Journal, error) {
	address, err := c.State.Address(ctx)
	if err != nil {
		return nil, usage(err, "`state` in "+c.File+" says where the journal is")
	}
	o := s.journalOptions(c.State)
	o.ReadOnly, o.Lease = readOnly, c.Limits.Lease.Std()
	return sqldb.Open(ctx, address.Reveal(), o)
}

// journalOptions have the journal's address as it is now: a password may have been replaced since.
func (s Setup) journalOptions(of config.State) sqldb.Options {
	return sqldb.Options{
		Program: "rotator " + s.Version,
		Log:     s.Log,
		Address: func(ctx context.Context) (string, error) {
			address, err := of.Address(ctx)
			return address.Reveal(), err
		},
		Refused: func(address string) { of.Refused(secret.New(address)) },
	}
}

// use is what a program is opened for.
type use struct {
	look    bool     // nothing is acted on
	strict  bool     // stores and teams that cannot be made are an error
	claimed bool     // the journal is this installation's
	only    []string // the policies that are acted for; none: all
}

// newProgram puts together what acts on a journal. It starts nothing.
func (s Setup) newProgram(ctx context.Context, f Files, j journal.Journal, u use) (*Program, error) {
	p := &Program{setup: s, owner: owner(), log: s.Log, journal: j, files: f, swapped: make(chan struct{})}
	if !f.Config.State.SQLite() {
		p.pacer = j
	}
	known, err := p.knownTeams(ctx)
	if err != nil {
		return nil, err
	}
	p.environment = newEnvironment(ctx, f.Config, known, p.hooks(), s.Log, made{})
	if err := p.environment.err(); err != nil && u.strict {
		return nil, err
	}
	if p.traces, err = newTraces(f.Config.Traces, s.Version, p.owner, s.Log); err != nil {
		return nil, err
	}
	p.engine = rotation.New(rotation.Options{
		Journal: j, Environment: p.environment, Log: s.Log, Limits: limits(f.Config), Only: u.only, Ordered: len(u.only) > 0, Unclaimed: !u.claimed && !u.look,
		Observe: p.observeStep, Rights: func(team string) map[string][]string { return p.present().rights(team) },
	})
	p.scheduler = newScheduler(p, j, u.only)
	p.api = api.New(api.Options{
		Journal: j, Scheduler: p.scheduler, Actions: actions{p}, Reasons: reasons(), Teams: func() []string { return p.present().environment.names },
		Stores: func() []string { return slices.Sorted(maps.Keys(p.present().environment.stores)) }, Spans: p.spans, Loaded: p.lastLoad, Unlogged: s.Unlogged,
		Hosts: hosts(f.Config), Mode: func() string { return string(p.present().Config.Mode) }, Version: s.Version, Commit: s.Commit, Log: s.Log,
	})
	return p, nil
}

// OpenToLook opens the journal beside whoever has it, and acts on nothing. One that does not exist yet is taken as one that
// has just read the policies. Stores, teams or policies that cannot be read are no error where there is a journal.
func (s Setup) OpenToLook(ctx context.Context, c *config.Config) (*Program, error) {
	j, err := s.OpenJournal(ctx, c, true)
	if errors.Is(err, sqldb.ErrNoJournal) {
		loaded := policies.LoadFolders(c.PolicyFolders(), c.PolicyOptions())
		p, err := s.InMemory(ctx, Files{c, loaded.Policies})
		if err == nil {
			p.read = loaded
		}
		return p, err
	}
	if err != nil {
		return nil, err
	}
	r, err := readPolicies(ctx, c, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	p, err := s.over(ctx, r.Files, j, use{look: true})
	if err == nil {
		p.read = r.loaded
	}
	return p, err
}

// journalPatience is how long a check waits for the journal.
const journalPatience = 10 * time.Second

// OpenToCheck is a program that checks what can be checked without a daemon. The journal says which keys are the policies'
// already; one that is not there, or cannot be read from here, is none: a check works without.
func (s Setup) OpenToCheck(ctx context.Context, f Files) (*Program, error) {
	within, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	j, err := s.OpenJournal(within, f.Config, true)
	if err != nil {
		return s.InMemory(ctx, f)
	}
	r, err := readPolicies(within, f.Config, j) // who owns a policy, the journal tells
	if err != nil {
		_ = j.Close() // nothing was written
		return s.InMemory(ctx, f)
	}
	p, err := s.over(ctx, r.Files, j, use{claimed: true})
	if err == nil {
		p.read = r.loaded
	}
	return p, err
}

// over is a program over an open journal, which it closes when it cannot be made.
func (s Setup) over(ctx context.Context, f Files, j journal.Journal, u use) (*Program, error) {
	p, err := s.newProgram(ctx, f, j, u)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return p, nil
}

// InMemory is a program over a journal that has just read the policies, and is forgotten with the command.
func (s Setup) InMemory(ctx context.Context, f Files) (*Program, error) {
	j, err := sqldb.Open(ctx, "sqlite::memory:", sqldb.Options{})
	if err != nil {
		return nil, err
	}
	if err := j.SetPolicies(ctx, time.Now(), f.Specs()); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return s.over(ctx, f, j, use{claimed: true, strict: true})
}

// Work runs the engine of a command that works alone, until the function returned is called: that waits until steps in
// hand have parked.
func (p *Program) Work(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { p.tend(ctx) })
	working.Go(func() {
		if err := p.scheduler.Run(ctx); err != nil {
			p.log.Error("the engine stopped", "err", err)
		}
	})
	return func() {
		cancel()
		working.Wait()
	}
}
