package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// link is how a command reaches the journal: through the daemon that has it, or by itself. Both speak the same API.
type link struct {
	*api.Client
	alone *program // nil when a daemon answers
	close func() error
}

// dial asks for the daemon. Nobody there is no error: ok is false.
func dial(ctx context.Context, c *config.Config) (client *api.Client, ok bool, err error) {
	if c.Socket == "" {
		return nil, false, nil
	}
	client = api.Dial(c.Socket)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch _, err := client.Version(ctx); {
	case err == nil:
		return client, true, nil
	case errors.Is(err, api.ErrNoDaemon):
		return nil, false, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, false, failed(err, "The daemon's socket is not open to you: see `socket_group` in the configuration, or use sudo.")
	default:
		return nil, false, failed(err, "The daemon at "+c.Socket+" does not answer as it should; see its log.")
	}
}

// act reaches the journal to change something. Without a daemon, the command takes the journal itself, and acts for the
// policies named.
func (a *app) act(ctx context.Context, only ...string) (*link, error) {
	c, err := config.Load(a.configFile(), a.env)
	if err != nil {
		return nil, err
	}
	client, ok, err := dial(ctx, c)
	if err != nil {
		return nil, err
	}
	if ok {
		return &link{Client: client, close: func() error { return nil }}, nil
	}
	p, err := a.openProgram(ctx, only...)
	if err != nil {
		return nil, err
	}
	return &link{Client: api.InProcess(p.api.Control()), alone: p, close: p.close}, nil
}

// actOn is act for policies that must be known, or nothing is done at all. It returns their names, each once.
func (a *app) actOn(ctx context.Context, names []string) (*link, []string, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	l, err := a.act(ctx, names...)
	if err != nil {
		return nil, nil, err
	}
	if _, err := l.Status(ctx, names...); err != nil {
		return nil, nil, errors.Join(err, l.close())
	}
	return l, names, nil
}

// look reaches the journal to read it. Without a daemon it is opened beside whoever has it. A journal that does not
// exist yet is taken as one that has just read the policies.
func (a *app) look(ctx context.Context) (*link, error) {
	c, err := config.Load(a.configFile(), a.env)
	if err != nil {
		return nil, err
	}
	client, ok, err := dial(ctx, c)
	if ok {
		return &link{Client: client, close: func() error { return nil }}, nil
	}
	if err != nil { // one that is frozen, or not ours to ask
		a.log.Warn("the daemon does not answer; its journal is read beside it", "err", err)
	}
	p, err := a.openToLook(ctx, c)
	if err != nil {
		return nil, err
	}
	return &link{Client: api.InProcess(p.api.Control()), alone: p, close: p.close}, nil
}

func (a *app) openToLook(ctx context.Context, c *config.Config) (*program, error) {
	f, bad := a.readFiles()
	j, err := a.openJournal(ctx, c, true)
	switch {
	case errors.Is(err, sqldb.ErrNoJournal) && bad != nil:
		return nil, bad
	case errors.Is(err, sqldb.ErrNoJournal):
		return a.inMemory(ctx, f)
	case err != nil:
		return nil, err
	case bad != nil: // where things stand is told also while the policies' files are broken
		f = files{config: c}
	}
	return a.over(ctx, f, j, use{look: true})
}

// over is a program over an open journal, which it closes when it cannot be made.
func (a *app) over(ctx context.Context, f files, j journal.Journal, u use) (*program, error) {
	p, err := a.newProgram(ctx, f, j, u)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return p, nil
}

// inMemory is a program over a journal that has just read the policies, and is forgotten with the command.
func (a *app) inMemory(ctx context.Context, f files) (*program, error) {
	j, err := sqldb.Open(ctx, "sqlite::memory:", sqldb.Options{})
	if err != nil {
		return nil, err
	}
	if err := j.SetPolicies(ctx, time.Now(), f.specs()); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return a.over(ctx, f, j, use{claimed: true})
}

// work runs the engine of a command that works alone, until the function returned is called: that waits until steps in
// hand have parked. With a daemon there is nothing to do.
func (l *link) work(ctx context.Context) (stop func()) {
	if l.alone == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	working.Go(func() { l.alone.tend(ctx) })
	working.Go(func() {
		if err := l.alone.engine.Run(ctx); err != nil {
			l.alone.log.Error("the engine stopped", "err", err)
		}
	})
	return func() {
		cancel()
		working.Wait()
	}
}
