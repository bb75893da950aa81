package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/internal/follow"
	"rotator/policies"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = api.ExitFailed
	exitUsage   = api.ExitUsage
	exitWaiting = api.ExitWaiting
)

func failed(err error, do string) error { return &app.Failure{Code: exitFailed, Err: err, Do: do} }

func usage(err error, do string) error { return &app.Failure{Code: exitUsage, Err: err, Do: do} }

func waiting(err error, do string) error { return &app.Failure{Code: exitWaiting, Err: err, Do: do} }

// errTold ends a command that has said everything already.
var errTold = follow.ErrTold

// report prints an error, with what to do next, and returns its exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code, do := advise(err)
	if errors.Is(err, errTold) {
		return code
	}
	var problems policies.Problems
	var told *api.Error
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintln(w, p)
		}
	case errors.As(err, &told):
		for _, p := range told.Problems {
			fmt.Fprintln(w, p)
		}
	}
	if problems == nil {
		fmt.Fprintf(w, "rotator: %v\n", err)
	}
	if do != "" {
		fmt.Fprintf(w, "  %s\n", do)
	}
	return code
}

// advise returns the exit code of an error, and what to do about it.
func advise(err error) (code int, do string) {
	var f *app.Failure
	var problems policies.Problems
	var told *api.Error
	switch {
	case errors.As(err, &f):
		return f.Code, f.Do
	case errors.As(err, &problems):
		return exitUsage, "Nothing was changed; fix these lines and retry."
	case errors.As(err, &told):
		return told.Code, ""
	case errors.Is(err, journal.ErrInUse):
		return exitFailed, "If that is the daemon, let the command reach it: `socket` in the configuration must be the daemon's, and open to you. Otherwise wait until it has ended."
	case errors.Is(err, journal.ErrNewer):
		return exitFailed, "Use the newer version; to go back, restore a backup that the older one wrote."
	case errors.Is(err, sqldb.ErrDamaged):
		return exitFailed, "Stop what uses it and restore a backup; without one, `The journal is lost` in docs/runbooks.md has the way to a new one."
	case errors.Is(err, api.ErrNoDaemon):
		return exitFailed, "The daemon ended meanwhile; `rotator status` shows the current state."
	case errors.Is(err, context.Canceled):
		return exitFailed, "It was interrupted; `rotator status` shows the current state."
	}
	return exitFailed, ""
}
