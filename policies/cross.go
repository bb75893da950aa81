package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// settle says which policies are in force: it compares the documents with each other and with what was accepted before.
// In a conflict (a name, a target, or a former name claimed twice) the newcomer is refused.
func (l *loader) settle(m *merge) {
	slices.SortStableFunc(m.docs, func(a, b document) int {
		return cmp.Or(strings.Compare(a.policy.File, b.policy.File), cmp.Compare(a.policy.Line, b.policy.Line))
	})
	s := &settling{loader: l, merge: m, claims: make(map[string]*claim, len(m.docs)), uses: make(map[[2]string][]use)}
	s.strangers()
	s.names()
	s.renames()
	s.keepUnread()
	s.targets()
	for name, c := range s.claims {
		if c.policy != nil {
			m.policies[name] = c.policy
		}
	}
}

// settling is one comparison of all policies.
type settling struct {
	*loader
	*merge
	claims map[string]*claim // policy name → what stands for it
	order  []*claim          // of sound documents, by file and line
	uses   map[[2]string][]use
}

// claim is what stands for a policy: its document, or what was accepted before.
type claim struct {
	policy *Policy  // nil: nothing is in force
	doc    document // zero where kept
	kept   bool     // as accepted before: no newcomer takes anything from it
	before *Policy  // as accepted before; nil: it was not, or was not looked up
	looked bool
}

// known reports whether a policy was accepted before.
func (l *loader) known(name string) bool {
	_, ok := l.options.Accepted[name]
	return ok
}

// former is the policy of a claim as it was accepted before, nil where it was not or cannot be read.
func (s *settling) former(name string, c *claim) *Policy {
	if a, ok := s.options.Accepted[name]; ok && !c.looked {
		c.before, _ = Decode([]byte(a.Canonical)) // nil where a newer program wrote it
		if c.before != nil {
			c.before.File = a.File
		}
	}
	c.looked = true
	return c.before
}

// refuse puts what was accepted before in the place of a document, and returns the claims that changed. Where a renaming is
// refused, the policy that has the former name stays.
func (s *settling) refuse(name, why string) []*claim {
	c := s.claims[name]
	if c == nil {
		c = &claim{}
		s.claims[name] = c
	}
	if s.refused[name] == "" {
		s.refused[name] = shorten(why)
	}
	from := ""
	if c.doc.policy != nil {
		from = c.doc.policy.Former()
	}
	c.policy, c.kept, c.doc = s.former(name, c), true, document{}
	if s.known(from) && s.claims[from] == nil {
		return append(s.refuse(from, why), c)
	}
	return []*claim{c}
}

func (s *settling) fail(d document, at mark, what, want string) string {
	p := Problem{d.policy.File, at.line, at.column, what, want}
	s.found.add(d.folder, 0, p)
	return p.String()
}

// names finds the one document that speaks for each name. Of several that is the one in the file that the policy was
// accepted from, or else the one that says what was accepted; of newcomers it is none.
func (s *settling) names() {
	byName := make(map[string][]int, len(s.docs))
	for i, d := range s.docs {
		if d.policy.Name != "" {
			byName[d.policy.Name] = append(byName[d.policy.Name], i)
		}
	}
	var broken []*claim
	heirless := make(map[string]string) // former name of a document that is refused → why
	for i, d := range s.docs {
		name := d.policy.Name
		if name == "" || byName[name][0] != i { // each name once, in the order of the files
			continue
		}
		same := byName[name]
		winner := s.rightful(name, same)
		why := ""
		for _, j := range same {
			other := s.docs[same[0]]
			if winner >= 0 {
				other = s.docs[winner]
			}
			if j == winner || winner < 0 && j == same[0] {
				continue
			}
			why = s.fail(s.docs[j], s.docs[j].name, "the name"+quote(name)+" is taken by the policy in "+place(other.policy), "another name")
		}
		for _, j := range same {
			if from := s.docs[j].policy.Former(); j != winner && from != "" && why != "" {
				heirless[from] = why
			}
		}
		if winner < 0 {
			s.refuse(name, why)
			continue
		}
		c := &claim{policy: s.docs[winner].policy, doc: s.docs[winner]}
		s.claims[name] = c
		if c.doc.refused == "" {
			s.order = append(s.order, c)
		} else {
			broken = append(broken, c)
		}
	}
	for _, c := range broken { // once all names are known
		s.refuse(c.policy.Name, c.doc.refused)
	}
	for from, why := range heirless { // a renaming that is refused leaves the policy as it was
		if s.known(from) && s.claims[from] == nil {
			s.refuse(from, why)
		}
	}
}

// rightful is the index of the document that speaks for a name, -1 where none has the better right.
func (s *settling) rightful(name string, same []int) int {
	if len(same) == 1 {
		return same[0]
	}
	before, known := s.options.Accepted[name]
	if !known {
		return -1
	}
	inFile := slices.DeleteFunc(slices.Clone(same), func(i int) bool { return s.docs[i].policy.File != before.File })
	if len(inFile) == 1 {
		return inFile[0]
	}
	for _, i := range same {
		if s.docs[i].refused == "" && string(s.docs[i].policy.Canonical()) == before.Canonical {
			return i
		}
	}
	return -1
}

// renames refuses a former name that a policy still has, and one that two policies claim.
func (s *settling) renames() {
	heirs := map[string]*Policy{}
	for _, c := range s.order {
		p := c.policy
		if c.kept || p.Former() == "" {
			continue
		}
		if old := s.claims[p.RenamedFrom]; old != nil && old != c {
			at := p.RenamedFrom
			if old.policy != nil {
				at = place(old.policy)
			}
			if f := c.doc.folder; f.limited() && !old.kept && old.doc.folder != f && s.leftover(c.doc) { // renamed long ago: another folder may use the name
				p.inert = true
				continue
			}
			why := s.fail(c.doc, c.doc.renamed, "renamed_from names the policy in "+at+", which still exists", "a name that no policy has any more")
			if s.known(p.Name) && !s.known(p.RenamedFrom) { // the renaming is long over: the old name is the newcomer
				s.refuse(p.RenamedFrom, why)
			} else {
				s.refuse(p.Name, why)
				continue
			}
		}
		first := heirs[p.RenamedFrom]
		if first == nil {
			heirs[p.RenamedFrom] = p
			continue
		}
		why := s.fail(c.doc, c.doc.renamed, "renamed_from is claimed by the policy in "+place(first)+" too", "one heir")
		for _, name := range []string{first.Name, p.Name} {
			if !s.known(name) {
				s.refuse(name, why)
			}
		}
	}
}

// keepUnread keeps policies that were accepted before and that are not found now, where something could not be read.
func (s *settling) keepUnread() {
	if len(s.unsureIn) == 0 {
		return
	}
	renamed := make(map[string]bool)
	for _, c := range s.order {
		if !c.kept {
			renamed[c.policy.Former()] = true
		}
	}
	some := ""
	for _, why := range s.broken {
		if some == "" || why < some {
			some = why
		}
	}
	for name, a := range s.options.Accepted {
		if s.claims[name] == nil && !renamed[name] && s.mayBeUnread(name, a) {
			s.refuse(name, cmp.Or(s.broken[a.File], "it is in no file, and not all could be read: "+some))
		}
	}
}

// mayBeUnread reports whether something that could not be read may hold the policy.
func (s *settling) mayBeUnread(name string, a Accepted) bool {
	for f := range s.unsureIn {
		if f == nil || f.holds(a.File) || s.mayTake(f, name) {
			return true
		}
	}
	return false
}

// place says where a policy is written.
func place(p *Policy) string {
	if p.Line == 0 {
		return p.File + " (" + p.Name + " as accepted before)"
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// shorten bounds what is kept of one policy.
func shorten(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// andMore is " (and N more problems)", "" for none.
func andMore(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return " (and 1 more problem)"
	}
	return fmt.Sprintf(" (and %d more problems)", n)
}
