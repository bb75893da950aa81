package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"unicode/utf8"

	"rotator/internal/config"
	"rotator/policies"
	"rotator/rotation/journal"
)

// refreshing is how files are read again.
type refreshing struct {
	fresh bool   // all stores and teams are made again, and so read their secrets again
	aloud bool   // the same problems as before are logged again
	quiet bool   // no one asked for it: that it went well is no news
	by    string // who asked; "": no one
}

// refresh reads configuration and policies again, and makes stores and teams of what changed. Its error is what is wrong, as
// policies.Problems: what is named there stays as it was, and all else is in force. Any other error means that the journal
// did not take it, and that all is as before.
func (p *Program) refresh(ctx context.Context, how refreshing) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	ended := p.announceReload()
	r, err := p.reload(ctx, how)
	if err != nil {
		p.log.Error("configuration not read again", "err", err)
		ended(err)
		return err
	}
	all := r.all()
	p.tellProblems(all, how.aloud)
	ended(asError(all))
	level := slog.LevelInfo
	if how.quiet {
		level = slog.LevelDebug
	}
	p.log.Log(ctx, level, "configuration and policies read", "policies", len(r.Policies), "problems", r.count())
	return asError(all)
}

func (p *Program) reload(ctx context.Context, how refreshing) (reading, error) {
	before := p.present()
	c, err := p.setup.Configuration()
	var broken policies.Problems
	if errors.As(err, &broken) { // a broken configuration costs only itself: policies are read under the one in force
		c = before.Config
	} else if err != nil {
		return reading{}, err
	}
	w, err := p.renewed(ctx, before, c, how.fresh)
	if err != nil {
		return reading{}, err
	}
	r, err := readPolicies(ctx, c, p.journal)
	if err != nil {
		return reading{}, err
	}
	gaps, err := p.gaps(ctx, r.Files)
	if err != nil {
		return reading{}, err
	}
	r.problems = slices.Concat(broken, w.problems, gaps)
	for _, key := range before.Config.NeedsRestart(c) {
		p.log.Warn("the new value takes effect when the daemon is started again", "key", key)
	}
	// The new stores and teams first: a policy may name them. They hold all that the old policies need.
	p.swap(r.Files, w)
	if err := p.take(ctx, r, how.by); err != nil {
		p.swap(before.Files, before.environment)
		return reading{}, err
	}
	if err := p.enterMode(ctx); err != nil {
		return reading{}, err // the mode holds anyway; it is entered at the next reading
	}
	p.scheduler.Wake()
	return r, nil
}

// renewed is the environment of a configuration: the one in force where nothing is to be made again.
func (p *Program) renewed(ctx context.Context, before view, c *config.Config, fresh bool) (*environment, error) {
	same := !fresh && c.Digest == before.Config.Digest
	if same && len(before.environment.problems) == 0 {
		return before.environment, nil
	}
	known, err := p.knownTeams(ctx)
	if err != nil {
		return nil, err
	}
	w := newEnvironment(ctx, c, known, p.hooks(), p.log, made{before.environment, before.Config, same})
	if same && len(w.problems) == len(before.environment.problems) {
		return before.environment, nil // tried again, and nothing came of it
	}
	return w, nil
}

// gaps are the stores and teams that the journal still needs and that the configuration does not name. Policies that need them
// wait, and no others.
func (p *Program) gaps(ctx context.Context, f Files) (problems policies.Problems, err error) {
	type gap struct {
		first string // the first that needs it
		more  int    // others that do
	}
	missing := make(map[string]*gap) // "store NAME", "team NAME"
	lacks := func(what, why string) {
		if g := missing[what]; g != nil {
			g.more++
		} else {
			missing[what] = &gap{first: why}
		}
	}
	targets, err := p.journal.Targets(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if _, ok := f.Config.Stores[t.Store]; !ok && (t.Decision != journal.Drop || t.KeyID != "") {
			lacks("store "+t.Store, fmt.Sprintf("target %s of %s was not forgotten", t.TargetID, t.Policy))
		}
	}
	all, err := p.journal.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		team := s.Policy.Team
		if _, ok := f.Config.Teams[team]; ok || missing["team "+team] != nil {
			continue
		}
		need, err := needs(ctx, p.journal, s.Policy)
		if err != nil {
			return nil, err
		}
		if need != "" {
			lacks("team "+team, need)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(missing)) {
		g := missing[what]
		text := fmt.Sprintf("%s is missing, and %s", what, g.first)
		if g.more > 0 {
			text += fmt.Sprintf(" (and %d more)", g.more)
		}
		problems = append(problems, policies.Problem{File: f.Config.File, What: text, Want: "it kept until that is over, or `rotator forget`"})
	}
	return problems, nil
}

// needs says why a policy still needs its team, "" when it does not.
func needs(ctx context.Context, j journal.Journal, policy journal.Policy) (string, error) {
	rec, err := j.Load(ctx, policy.Name)
	if err != nil {
		return "", err
	}
	for _, k := range rec.Keys {
		switch {
		case k.Team != policy.Team:
		case k.ID == "":
			return "a key of " + k.Policy + " may still appear", nil
		default:
			return fmt.Sprintf("key %s of %s is not deleted", k.ID, k.Policy), nil
		}
	}
	return "", nil
}

// swap puts other files and another environment in force.
func (p *Program) swap(f Files, w *environment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files, p.environment = f, w
	close(p.swapped)
	p.swapped = make(chan struct{})
	p.engine.Reload(w)
}

// tend lets the stores in force do what they do by themselves, until ctx ends.
func (p *Program) tend(ctx context.Context) {
	for ctx.Err() == nil {
		p.mu.Lock()
		w, swapped := p.environment, p.swapped
		p.mu.Unlock()
		tended, stop := context.WithCancel(ctx)
		var working sync.WaitGroup
		working.Go(func() { w.run(tended) })
		select {
		case <-swapped:
		case <-ctx.Done():
		}
		stop()
		working.Wait()
	}
}

// asError keeps a nil list from becoming an error that is not nil.
func asError(problems policies.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// shorten cuts a text off after n bytes, between two characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
