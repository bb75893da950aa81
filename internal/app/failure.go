package app

import (
	"rotator/internal/api"
)

// Failure is an error of the user who runs a command or the daemon, with what to do next.
type Failure struct {
	Code int // the exit code: one of [api.ExitFailed], [api.ExitUsage] and [api.ExitWaiting]
	Err  error
	Do   string // "" where nothing is known
}

// Error implements error. What to do is not in it.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error itself.
func (f *Failure) Unwrap() error { return f.Err }

func failed(err error, do string) error { return &Failure{api.ExitFailed, err, do} }

func usage(err error, do string) error { return &Failure{api.ExitUsage, err, do} }
