package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"rotator/internal/api"
	"rotator/internal/config"
	"rotator/policies"
	"rotator/rotation/journal"
)

// reading is what the files say, and what of it is wrong.
type reading struct {
	Files
	loaded   policies.Loaded
	problems policies.Problems // of the configuration, and of what it names; then come those of the policies
}

// readPolicies reads the policies' files. What is wrong in them leaves what the journal accepted before.
func readPolicies(ctx context.Context, c *config.Config, j journal.Journal) (reading, error) {
	accepted, err := j.Accepted(ctx)
	if err != nil {
		return reading{}, err
	}
	o := c.PolicyOptions()
	o.Accepted = make(map[string]policies.Accepted, len(accepted))
	for _, s := range accepted {
		o.Accepted[s.Name] = policies.Accepted{File: s.File, Canonical: s.Canonical}
	}
	loaded := policies.Load(c.Policies, o)
	return reading{Files: Files{c, loaded.Policies}, loaded: loaded}, nil
}

// all are the problems that are kept, in the order in which they are best solved.
func (r reading) all() policies.Problems {
	if len(r.loaded.Problems) == 0 {
		return r.problems
	}
	return append(r.problems[:len(r.problems):len(r.problems)], r.loaded.All()...)
}

// count is how many problems there are.
func (r reading) count() int { return len(r.problems) + len(r.loaded.Problems) + r.loaded.More }

// forJournal is the reading as the journal takes it.
func (r reading) forJournal(replica string) journal.Reading {
	specs := r.Specs()
	accepted := make([]journal.Spec, 0, len(specs))
	for _, s := range specs {
		if _, refused := r.loaded.Refused[s.Name]; !refused {
			accepted = append(accepted, s)
		}
	}
	l := journal.Load{Replica: replica, Problems: r.count()}
	if all := r.all(); len(all) > 0 {
		l.Error, l.Digest = summary(all), digest(all)
	}
	return journal.Reading{Load: l, Specs: accepted, Kept: r.loaded.Refused, Partial: r.loaded.Partial}
}

// summary is the first problems, one a line.
func summary(all policies.Problems) string {
	const most = 10
	text := all[:min(most, len(all))].Error()
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf("\nand %d more", more)
	}
	return shorten(text, 2000)
}

// digest is the same for the same set of problems, also after lines moved.
func digest(all policies.Problems) string {
	h := sha256.New()
	for _, p := range all {
		p.Line = 0
		fmt.Fprintln(h, p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// take hands a reading that somebody asked for to the journal, and remembers how it went.
func (p *Program) take(ctx context.Context, r reading, by string) error {
	now := time.Now()
	given := r.forJournal(p.owner)
	given.Again, given.By = p.again(given.Specs), by
	awaited, err := p.journal.TakeReading(ctx, now, given)
	if err != nil {
		return err
	}
	if !slices.Equal(awaited, p.awaited) {
		p.awaited = awaited
		for _, name := range awaited {
			p.log.Info("policy not removed: another replica still reads it", "policy", name)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given = make(map[string]string, len(given.Specs))
	for _, s := range given.Specs {
		p.given[s.Name] = s.Canonical
	}
	p.loaded.At, p.loaded.Policies, p.loaded.Problems, p.loaded.Error = now, len(r.Policies), given.Load.Problems, given.Load.Error
	if given.Load.OK() {
		p.loaded.Succeeded = now
	}
	p.unsettled = len(awaited) > 0 || len(p.environment.problems) > 0
	p.folders = r.loaded.Folders
	return nil
}

// again names the policies that these files say the same of as when they were last read here. A replica whose files are older
// than another's must not say so again and again.
func (p *Program) again(specs []journal.Spec) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := make(map[string]bool)
	for _, s := range specs {
		if before, ok := p.given[s.Name]; ok && before == s.Canonical {
			same[s.Name] = true
		}
	}
	return same
}

// lastLoad is how files were last read here.
func (p *Program) lastLoad() api.Loading {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loaded
}

// tellProblems logs what is wrong, once for each set unless aloud.
func (p *Program) tellProblems(all policies.Problems, aloud bool) {
	of := ""
	if len(all) > 0 {
		of = digest(all)
	}
	if of == p.refused && !aloud {
		return
	}
	p.refused = of
	for _, problem := range all {
		p.log.Error("configuration refused", "problem", problem.String())
	}
}

// LoadProblems is what was wrong when the files were read, nil for nothing.
func (p *Program) LoadProblems() error {
	if l := p.lastLoad(); l.Problems > 0 {
		return usage(fmt.Errorf("%s in the configuration:\n%s", countProblems(l.Problems), l.Error), "What is named was left as it was accepted before; fix it and retry.")
	}
	return nil
}

// countProblems says how many problems there are.
func countProblems(n int) string {
	if n == 1 {
		return "1 problem"
	}
	return fmt.Sprintf("%d problems", n)
}
