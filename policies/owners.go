package policies

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A policy belongs to the folder that it was accepted from, until it is forgotten. Those who write another folder must not be able
// to take it over, by its name or by renamed_from, nor keep its owners from changing or removing it. A folder without limits may take
// any policy: whoever edits it holds every key anyway. A policy of no folder of the configuration, since its folder was moved, goes to
// the folder whose limits it keeps to.

// holds reports whether a file lies in the folder.
func (f *Folder) holds(file string) bool {
	return strings.HasPrefix(file, strings.TrimSuffix(filepath.Clean(f.Dir), "/")+"/")
}

// limited reports whether the folder has limits.
func (f *Folder) limited() bool { return f != nil && f.Allow != nil }

// record is what the journal has of a policy that is in force, or that was removed and not forgotten.
func (l *loader) record(name string) (Accepted, bool) {
	a, ok := l.options.Accepted[name]
	if !ok {
		a, ok = l.options.Removed[name]
	}
	return a, ok
}

// ownerOf is the folder that a recorded policy belongs to, nil for none of those that are read.
func (l *loader) ownerOf(a Accepted) *Folder {
	for _, f := range l.folders {
		if f.holds(a.File) {
			return f
		}
	}
	return nil
}

// mayTake reports whether a document of a folder may speak for the policy that has this name now.
func (l *loader) mayTake(f *Folder, name string) bool {
	a, known := l.record(name)
	if !known || !f.limited() {
		return true
	}
	if owner := l.ownerOf(a); owner != nil {
		return owner == f
	}
	p, err := Decode([]byte(a.Canonical))
	return err == nil && len(refusals(p, *f, l.options.Stores)) == 0
}

// strangers takes out the documents that speak for a policy of another folder, and the names that they claim from one.
func (s *settling) strangers() {
	owned := make(map[string]bool) // names that the owner's folder has a document for
	sound := make(map[string]*Folder)
	for _, d := range s.docs {
		name := d.policy.Name
		if a, known := s.record(name); known && s.ownerOf(a) == d.folder {
			owned[name] = true
		}
		if d.refused == "" {
			sound[name] = d.folder
		}
	}
	kept := s.docs[:0]
	for _, d := range s.docs {
		name := d.policy.Name
		a, known := s.record(name)
		switch {
		case known && s.ownerOf(a) != d.folder && owned[name]:
			s.fail(d, d.name, "the name"+quote(name)+" is taken by the policy in "+a.File, "another name")
			continue
		case known && !s.mayTake(d.folder, name):
			s.fail(d, d.name, d.folder.Name+".allow: the name"+quote(name)+" is that of a policy of another folder, from "+a.File, "another name; or ask whoever edits rotator.yaml")
			continue
		case !known && d.refused != "" && sound[name] != nil && sound[name] != d.folder: // what is refused keeps nobody from a name
			s.fail(d, d.name, "the name"+quote(name)+" is taken by a policy of another folder", "another name")
			continue
		}
		d = s.heir(d)
		kept = append(kept, d)
	}
	s.docs = kept
}

// heir refuses a former name that a folder with limits may not take: it has to be that of a policy of the folder, which the journal
// knows. A name that nobody knows could be one that another folder, or another installation, uses. The line may stay when the renaming is
// over, and does nothing where the name is another folder's by then.
func (s *settling) heir(d document) document {
	from := d.policy.RenamedFrom
	if from == "" || !d.folder.limited() || s.options.Accepted == nil {
		return d
	}
	_, known := s.record(from)
	may := s.mayTake(d.folder, from)
	switch {
	case known && may:
	case s.leftover(d):
		if known {
			p := *d.policy
			p.inert = true
			d.policy = &p
		}
	case known:
		return s.heirless(d, d.folder.Name+".allow: renamed_from names a policy of another folder")
	default:
		return s.heirless(d, d.folder.Name+".allow: renamed_from names no policy of this folder")
	}
	return d
}

// leftover reports whether a policy was accepted with the same former name before.
func (s *settling) leftover(d document) bool {
	a, known := s.record(d.policy.Name)
	if !known {
		return false
	}
	before, err := Decode([]byte(a.Canonical))
	return err == nil && before.RenamedFrom == d.policy.RenamedFrom
}

// heirless refuses a document for its former name, which it claims no more.
func (s *settling) heirless(d document, what string) document {
	why := s.fail(d, d.renamed, what, "no renamed_from, and a name of its own; or ask whoever edits rotator.yaml")
	p := *d.policy
	p.RenamedFrom = ""
	d.policy = &p
	if d.refused == "" {
		d.refused = why
	}
	return d
}

// apart refuses folders that lie in one another: which limits hold there would be unclear.
func apart(all []*listing) {
	for i, a := range all {
		for j, b := range all {
			if i == j || a.root == nil || b.root == nil || !within(a.at, b.at) {
				continue
			}
			what := fmt.Sprintf("the folder lies in that of %s, or is the same", b.folder.Name)
			a.problems = append(a.problems, Problem{File: a.folder.Dir, What: what, Want: "folders beside each other: each file belongs to one"})
			a.overlaps = true
			b.problems = append(b.problems, Problem{File: b.folder.Dir, What: fmt.Sprintf("the folder holds that of %s, or is the same", a.folder.Name),
				Want: "folders beside each other: each file belongs to one"})
			b.overlaps = true
		}
	}
	for _, l := range all {
		if l.overlaps {
			l.files, l.folders = nil, nil
		}
	}
}

// within reports whether a path is another one, or below it.
func within(path, of string) bool {
	return path == of || strings.HasPrefix(path, strings.TrimSuffix(of, "/")+"/")
}
