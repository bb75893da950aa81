// Package app puts together what runs: journal, engine, stores, teams, the API, log, traces and notifications. A daemon is
// [Setup.Run]. A command that works without one opens a [Program], by itself or to look only, and asks it as it would ask the
// daemon.
//
// What an error's reader can do comes with it, as [Failure]. Flags, arguments and printing are the commands', which this
// package never imports.
package app

import (
	"fmt"
	"log/slog"

	"rotator/internal/config"
	"rotator/policies"
)

// Setup is what a process has before it opens anything.
type Setup struct {
	// Config is the configuration's file; "" where it is looked for as [config.Find] says.
	Config string
	Env    config.Env
	Log    *slog.Logger
	// Unlogged returns how many lines of the log were dropped; nil: none ever are.
	Unlogged func() uint64
	// Version of the program, and the commit that it was built from.
	Version, Commit string
}

// Configuration reads the configuration. It is looked up each time.
func (s Setup) Configuration() (*config.Config, error) {
	return config.Load(config.Find(s.Config, s.Env), s.Env)
}

// ReadFiles loads configuration and policies, or returns every problem of both.
func (s Setup) ReadFiles() (Files, error) {
	c, err := s.Configuration()
	if err != nil {
		return Files{}, err
	}
	loaded := policies.LoadFolders(c.PolicyFolders(), c.PolicyOptions())
	if err := loaded.Err(); err != nil {
		return Files{}, err
	}
	return Files{c, loaded.Policies}, nil
}

// userAgent is how the program names itself to xAI.
func (s Setup) userAgent() string { return "rotator/" + s.Version }

// CountPolicies says how many policies there are.
func CountPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}
