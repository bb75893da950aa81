package policies

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// TestFoldersDoNotReachEachOther: what the authors of one folder with limits write changes nothing of the policies of another one: not
// which are in force, not what they say, and not whether they count as refused or removed.
func TestFoldersDoNotReachEachOther(t *testing.T) {
	t.Parallel()
	const seeds = 150
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPolicyFiles(t)
		victims := []string{"a", "b", "c"}
		for _, name := range victims {
			p.write("1/"+name+".yaml", policyOf(name, ""))
		}
		p.write("2/x.yaml", policyOf("x", "")+"---\n"+policyOf("y", ""))
		if first := p.load(); first.Err() != nil {
			t.Fatal(first.Err())
		}
		for step := range 3 {
			hostile(r, p)
			edits(r, p, victims, step)
			with := LoadFolders(p.folders, p.options)
			alone := LoadFolders(p.folders[:2], p.options)
			owned := func(l Loaded) map[string]string {
				all := make(map[string]string)
				for name, policy := range l.Policies {
					if p.folders[1].holds(policy.File) {
						all[name] = string(policy.Canonical()) + " refused " + fmt.Sprint(l.Refused[name] != "")
					}
				}
				return all
			}
			if got, want := owned(with), owned(alone); !maps.Equal(got, want) {
				t.Fatalf("seed %d, step %d: in force are\n%v, and without the other folder\n%v\n%v", seed, step, got, want, with.Problems)
			}
			theirs := func(name string) bool { // now; after a renaming the old name is free
				a, known := p.options.Accepted[name]
				if !known {
					a = p.options.Removed[name]
				}
				return p.folders[1].holds(a.File)
			}
			for name, policy := range with.Policies {
				if p.folders[2].holds(policy.File) && (policy.Team != "search" || theirs(name) || theirs(policy.Former())) {
					t.Fatalf("seed %d, step %d: %s of %s got through", seed, step, name, policy.File)
				}
			}
			p.load()
		}
	}
}

// hostile writes anything into folder 2.
func hostile(r *rand.Rand, p *policyFiles) {
	names := []string{"a", "b", "c", "x", "y", "z", "a0", "b1"}
	some := func() string { return names[r.IntN(len(names))] }
	for _, file := range []string{"2/x.yaml", "2/more/y.yaml"} {
		var docs []string
		for range r.IntN(4) {
			also := ""
			if r.IntN(2) == 0 {
				also += "renamed_from: " + some() + "\n"
			}
			if r.IntN(4) == 0 {
				also += "broken: 1\n"
			}
			doc := strings.Replace(policyOf(some(), also), "path: llm/search/", "path: llm/search/of-", 1)
			switch r.IntN(4) {
			case 0:
				doc = strings.Replace(doc, "of-", "", 1) // a target of another policy, perhaps
			case 1:
				doc = strings.Replace(doc, "team: search", "team: prod", 1)
			}
			docs = append(docs, doc)
		}
		if r.IntN(4) == 0 {
			docs = append(docs, "{")
		}
		p.write(file, strings.Join(docs, "---\n")+"\n# "+some())
	}
}

// edits are what the owners of folder 1 do to their policies. The names that they rename to, nobody else uses.
func edits(r *rand.Rand, p *policyFiles, victims []string, step int) {
	for _, name := range victims {
		if a, known := p.options.Accepted[name]; !known || !p.folders[1].holds(a.File) {
			continue
		}
		text := policyOf(name, "")
		switch r.IntN(6) {
		case 0:
			text = policyOf(name, "owner: o\n")
		case 1:
			text = policyOf(name, "broken: 1\n")
		case 2:
			text = "{"
		case 3:
			_ = os.Remove(p.path("1/" + name + ".yaml")) // it may be gone already
			continue
		case 4:
			text = "# removed\n---\n" + strings.Replace(policyOf(fmt.Sprintf("%s-new%d", name, step), "renamed_from: "+name+"\n"), "llm/search/"+name+"-new"+fmt.Sprint(step), "llm/search/"+name, 1)
		}
		p.write("1/"+name+".yaml", text)
	}
}
