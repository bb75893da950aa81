package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
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
	o := c.PolicyOptions()
	// Another replica may remove a policy or bring one back between two questions; none is missing from all three answers.
	before, err := j.Vanished(ctx)
	if err != nil {
		return reading{}, err
	}
	accepted, err := j.Accepted(ctx)
	if err != nil {
		return reading{}, err
	}
	after, err := j.Vanished(ctx)
	if err != nil {
		return reading{}, err
	}
	o.Accepted, o.Removed = acceptedBefore(accepted), acceptedBefore(append(before, after...))
	loaded := policies.LoadFolders(c.PolicyFolders(), o)
	return reading{Files: Files{c, loaded.Policies}, loaded: loaded}, nil
}

func acceptedBefore(specs []journal.Spec) map[string]policies.Accepted {
	all := make(map[string]policies.Accepted, len(specs))
	for _, s := range specs {
		all[s.Name] = policies.Accepted{File: s.File, Canonical: s.Canonical}
	}
	return all
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
		l.Error, l.Digest = summary(all, r.Config.Policies.Dirs()), digest(all)
	}
	return journal.Reading{Load: l, Specs: accepted, Kept: r.loaded.Refused, Partial: r.loaded.Partial}
}

// summary is the first problems, one a line: the first of each folder of policies, then the second of each, and so on, in their order.
func summary(all policies.Problems, dirs []string) string {
	const most, longest = 10, 400
	turn := make(map[string]int) // folder → problems of it so far
	turns := make([]int, len(all))
	for i, p := range all {
		of := ""
		for _, dir := range dirs {
			if strings.HasPrefix(p.File, dir) {
				of = dir
			}
		}
		turns[i] = turn[of]
		turn[of]++
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(turns[a], turns[b]) })
	order = order[:min(most, len(order))]
	slices.Sort(order)
	lines := make([]string, len(order))
	for i, at := range order {
		lines[i] = shorten(all[at].String(), longest)
	}
	if more := len(all) - most; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
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

// take hands a reading that someone asked for to the journal, and remembers how it went.
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
	p.read = r.loaded
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
