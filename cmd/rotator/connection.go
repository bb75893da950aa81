package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/policies"
)

// connection is how a command reaches the journal: through the daemon that has it, or by itself. Both speak the same API.
type connection struct {
	*api.Client
	alone *app.Program // nil when a daemon answers
	close func() error
}

// dial connects to the daemon. ok is false, without an error, when no daemon is running.
func dial(ctx context.Context, socket string) (client *api.Client, ok bool, err error) {
	if socket == "" {
		return nil, false, nil
	}
	client = api.Dial(socket)
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
		return nil, false, failed(err, "The daemon at "+socket+" does not answer as it should; see its log.")
	}
}

// act reaches the journal to change something. Without a daemon, the command takes the journal itself, and acts for the
// policies named.
func (a *cli) act(ctx context.Context, only ...string) (*connection, error) {
	socket, err := a.socket(ctx)
	if err != nil {
		return nil, err
	}
	client, ok, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	if ok {
		return &connection{Client: client, close: func() error { return nil }}, nil
	}
	p, err := a.setup().Open(ctx, only...)
	if err != nil {
		return nil, err
	}
	return &connection{Client: p.Client(), alone: p, close: p.Close}, nil
}

// actOn is act for policies that must be known, or nothing is done at all. It returns their names, each once.
func (a *cli) actOn(ctx context.Context, names []string) (*connection, []string, error) {
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
func (a *cli) look(ctx context.Context) (*connection, error) {
	socket, err := a.socket(ctx)
	if err != nil {
		return nil, err
	}
	client, ok, err := dial(ctx, socket)
	if ok {
		return &connection{Client: client, close: func() error { return nil }}, nil
	}
	if err != nil { // one that is frozen, or not ours to ask
		a.log.Warn("the daemon does not answer; its journal is read beside it", "err", err)
	}
	c, err := a.setup().Configuration()
	if err != nil {
		return nil, err
	}
	p, err := a.setup().OpenToLook(ctx, c)
	if err != nil {
		return nil, err
	}
	return &connection{Client: p.Client(), alone: p, close: p.Close}, nil
}

// warnOfFiles says what is refused of the files as they are now: the answer is about what is in force.
func (a *cli) warnOfFiles() {
	_, err := a.setup().ReadFiles()
	var problems policies.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			a.log.Warn("file refused; this is about what is in force without it", "problem", p)
		}
	case err != nil:
		a.log.Warn("files could not be read; this is about what is in force", "err", err)
	}
}

// work runs the engine of a command that works alone, until the function returned is called. With a daemon there is nothing
// to do.
func (l *connection) work(ctx context.Context) (stop func()) {
	if l.alone == nil {
		return func() {}
	}
	return l.alone.Work(ctx)
}
