package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"rotator/policies"
	"rotator/rotation/journal"
)

// refresh reads configuration and policies again. Stores and teams are made anew, and so read their secrets again, when
// the configuration changed or anew is asked for. Everything that can fail is done before anything changes; an error
// means that all is as before, and is an event too. The same error again is told where aloud is set.
func (p *Program) refresh(ctx context.Context, anew, aloud bool) error {
	p.loading.Lock()
	defer p.loading.Unlock()
	ended := p.announceReload()
	err := p.reload(ctx, anew)
	ended(err)
	if err == nil {
		p.refused = ""
		return nil
	}
	if p.refused == err.Error() && !aloud {
		return err
	}
	p.refused = err.Error()
	var problems policies.Problems
	if errors.As(err, &problems) {
		for _, problem := range problems {
			p.log.Error("not reloaded", "problem", problem.String())
		}
	} else {
		p.log.Error("not reloaded", "err", err)
	}
	e := journal.Event{At: time.Now(), Kind: journal.ReloadRefused, Data: map[string]string{"error": shorten(p.refused, 2000)}}
	return errors.Join(err, p.journal.Record(ctx, e))
}

func (p *Program) reload(ctx context.Context, anew bool) error {
	f, err := p.setup.ReadFiles()
	if err != nil {
		return err
	}
	before := p.present()
	w := before.environment
	if anew || f.Config.Digest != before.Config.Digest {
		known, err := p.knownTeams(ctx)
		if err != nil {
			return err
		}
		if w, err = newEnvironment(ctx, f.Config, known, p.hooks(), p.log); err != nil {
			return err
		}
	}
	if problems, err := p.gaps(ctx, f, w); err != nil || len(problems) > 0 {
		return errors.Join(err, asError(problems))
	}
	for _, key := range before.Config.NeedsRestart(f.Config) {
		p.log.Warn("the new value takes effect when the daemon is started again", "key", key)
	}
	// The new stores and teams first: a policy may name them. They hold all that the old policies need.
	p.swap(f, w)
	if err := p.journal.SetPolicies(ctx, time.Now(), f.Specs()); err != nil {
		p.swap(before.Files, before.environment)
		return err
	}
	p.scheduler.Wake()
	p.log.Info("configuration and policies read", "policies", len(f.Policies))
	return nil
}

// gaps are the stores and teams that the journal still needs and that the new configuration lacks.
func (p *Program) gaps(ctx context.Context, f Files, w *environment) (problems policies.Problems, err error) {
	lacks := func(what, name, why string) {
		problem := policies.Problem{File: f.Config.File, What: fmt.Sprintf("%s %s is missing, and %s", what, name, why),
			Want: "it kept until that is over, or `rotator forget`"}
		if !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	targets, err := p.journal.Targets(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if _, ok := w.stores[t.Store]; !ok && (t.Decision != journal.Drop || t.KeyID != "") {
			lacks("store", t.Store, fmt.Sprintf("target %s of %s was not forgotten", t.TargetID, t.Policy))
		}
	}
	all, err := p.journal.Summaries(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		team := s.Policy.Team
		if w.teams[team] != nil {
			continue
		}
		need, err := needs(ctx, p.journal, s.Policy)
		if err != nil {
			return nil, err
		}
		if need != "" {
			lacks("team", team, need)
		}
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

// warnOfGaps says at the start what a reload would have refused: to rotate what can be is better than to rotate nothing.
func (p *Program) warnOfGaps(ctx context.Context) {
	v := p.present()
	problems, err := p.gaps(ctx, v.Files, v.environment)
	for _, problem := range problems {
		p.log.Error("the configuration lost what the journal still needs", "problem", problem.String())
	}
	if err != nil {
		p.log.Error("the journal could not be compared with the configuration", "err", err)
	}
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
