package policies

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestNobodyTakesAnything: whatever the files say, no policy takes a name or a target from one that was accepted before, none is
// lost that a file names, and reading the same files again changes nothing.
func TestNobodyTakesAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3_000) {
		r := rand.New(rand.NewPCG(seed, 0))
		name := func() string { return string(rune('a' + r.IntN(5))) }
		text := func(name string) string {
			s := strings.Replace(named(name), "llm/"+name, fmt.Sprint("llm/", r.IntN(5)), 1)
			if r.IntN(6) == 0 {
				s += fmt.Sprintf("  - {store: vault, path: llm/%d, field: api_key}\n", r.IntN(5))
			}
			if r.IntN(8) == 0 {
				s += "renamed_from: " + string(rune('a'+r.IntN(5))) + "\n"
			}
			return s
		}
		before := make(map[string]Accepted)
		held := make(map[string]bool)
		for range r.IntN(5) {
			n := name()
			list, problems := Parse("", []byte(text(n)), options)
			if _, ok := before[n]; ok || problems != nil || slices.ContainsFunc(list[0].Targets, func(t Target) bool { return held[t.Path] }) {
				continue
			}
			for _, target := range list[0].Targets {
				held[target.Path] = true
			}
			before[n] = Accepted{File: fmt.Sprint(r.IntN(4)), Canonical: string(list[0].Canonical())}
		}
		var files []parsed
		o := options
		o.Accepted = before
		l := newLoader(o)
		for i := range r.IntN(4) {
			var docs []string
			for range 1 + r.IntN(3) {
				doc := text(name())
				if r.IntN(6) == 0 {
					doc += "x: y\n"
				}
				docs = append(docs, doc)
			}
			if r.IntN(10) == 0 {
				docs = append(docs, "{")
			}
			files = append(files, l.parse(fmt.Sprint(i), []byte(strings.Join(docs, "---\n")), nil))
		}
		settle := func(before map[string]Accepted) *merge {
			o.Accepted = before
			l := newLoader(o)
			m := &merge{policies: make(map[string]*Policy), refused: make(map[string]string)}
			for _, f := range files {
				m.take(f)
			}
			l.settle(m)
			return m
		}
		as := func(p *Policy) string { return string(p.Canonical()) }
		got := settle(before)
		users := make(map[string]string)
		for _, name := range slices.Sorted(maps.Keys(got.policies)) {
			for _, target := range got.policies[name].Targets {
				if other, taken := users[target.Path]; taken {
					t.Fatalf("seed %d: %s and %s both write %s", seed, other, name, target.Path)
				}
				users[target.Path] = name
			}
		}
		renamed := make(map[string]bool)
		for _, p := range got.policies {
			if _, refused := got.refused[p.Name]; !refused {
				renamed[p.RenamedFrom] = true
			}
		}
		for name := range before {
			inFile := slices.ContainsFunc(got.docs, func(d document) bool { return d.policy.Name == name })
			if got.policies[name] == nil && (inFile || len(got.unsureIn) > 0 && !renamed[name]) {
				t.Fatalf("seed %d: %s was accepted before, and is lost", seed, name)
			}
		}
		for name := range got.refused {
			if a, ok := before[name]; ok && as(got.policies[name]) != a.Canonical {
				t.Fatalf("seed %d: %s was refused, and is not as before", seed, name)
			} else if !ok && got.policies[name] != nil {
				t.Fatalf("seed %d: the newcomer %s was refused, and is in force", seed, name)
			}
		}
		if (len(got.refused) > 0 || len(got.unsureIn) > 0) && len(got.found) == 0 {
			t.Fatalf("seed %d: refused %v without a problem", seed, got.refused)
		}
		after := make(map[string]Accepted)
		for name, p := range got.policies {
			after[name] = Accepted{File: p.File, Canonical: as(p)}
		}
		again := settle(after)
		for name := range after {
			if again.policies[name] == nil || as(again.policies[name]) != after[name].Canonical {
				t.Fatalf("seed %d: %s is another one when the same is read again", seed, name)
			}
		}
	}
}
