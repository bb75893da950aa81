package policies

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// largeFile is the size from which on files are parsed one after the other, in bytes.
const largeFile = 128 << 10

// Loaded is what a folder of policies says. A mistake costs only what it names.
type Loaded struct {
	// Policies are those in force, by name: as the files have them; and where the files' word was refused or could not be
	// read, as they were accepted before.
	Policies map[string]*Policy
	// Refused says why the files' word on a policy does not count, by name. A policy that was accepted before stays as it was;
	// any other is not in force.
	Refused map[string]string
	// Problems is what is wrong, sorted by file and line: at most MaxProblems. More counts the rest.
	Problems Problems
	More     int
	// Partial: something could not be read that may hold any policy. One that is missing is then not counted as removed.
	Partial bool
	// Folders are those that were read: the folder itself and those below it.
	Folders []string
}

// Err is nil without a problem, and else all that are kept as [Problems], the last of which counts the rest.
func (l Loaded) Err() error {
	if len(l.Problems) == 0 {
		return nil
	}
	return l.All()
}

// All are the problems that are kept, and one more that counts the rest where there are more.
func (l Loaded) All() Problems {
	if l.More == 0 {
		return l.Problems
	}
	return append(l.Problems[:len(l.Problems):len(l.Problems)], Problem{File: l.Problems[len(l.Problems)-1].File,
		What: fmt.Sprintf("and %d more problems from here on", l.More), Want: "the ones above solved first"})
}

// Load reads every *.yaml and *.yml file in dir and in the folders below it. A folder without such files holds no policies,
// which is not a problem. A mounted Kubernetes ConfigMap is read from one generation, also while it is being replaced. Other
// links are not followed, and a file or a folder that others than root and this process's user may write is not read: see
// package trust.
//
// What is wrong costs only itself. A broken document, or one in conflict with a policy that was accepted before (see
// [Options].Accepted), leaves its policy as that was accepted; a file or folder that cannot be read leaves all policies that
// are not found elsewhere. Two newcomers in conflict are both refused.
func Load(dir string, o Options) Loaded {
	return LoadFolders([]Folder{{Dir: dir, Name: "policies"}}, o)
}

// LoadFolders is Load for several folders, none of which may lie in another one. What a folder is not allowed is refused as any other
// mistake is. A policy that is in force belongs to the folder that it was accepted from: no document of another folder that has
// limits takes it over, and none keeps a folder's own from having a say.
func LoadFolders(folders []Folder, o Options) Loaded {
	for again := 0; ; again++ {
		loaded, superseded := load(folders, o)
		if !superseded || again == maxAgain {
			return loaded
		}
	}
}

// maxAgain is how often a folder is read again that was replaced while it was read.
const maxAgain = 3

// load is LoadFolders. superseded says that something could not be read, and that a ConfigMap was replaced meanwhile.
func load(folders []Folder, o Options) (loaded Loaded, superseded bool) {
	l := newLoader(o)
	lists := make([]*listing, len(folders))
	for i := range folders {
		l.folders = append(l.folders, &folders[i])
		lists[i] = list(&folders[i], o.Guard)
		defer lists[i].close()
	}
	apart(lists)
	m := merge{policies: make(map[string]*Policy), refused: make(map[string]string), broken: make(map[string]string), unsureIn: make(map[*Folder]bool)}
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	var large sync.Mutex // one large file at a time: while it is parsed, it takes a hundred times its size
	for _, found := range lists {
		loaded.Folders = append(loaded.Folders, found.folders...)
		for _, p := range found.problems {
			m.take(unreadable(p, found.folder))
		}
		for _, f := range found.files {
			group.Go(func() error {
				data, problem := found.read(f)
				if len(data) > largeFile {
					large.Lock()
					defer large.Unlock()
				}
				if problem != nil {
					m.take(unreadable(*problem, found.folder))
				} else {
					m.take(l.parse(f.shown, data, found.folder))
				}
				return nil
			})
		}
	}
	_ = group.Wait() // no function fails: problems are results
	l.settle(&m)
	loaded.Policies, loaded.Refused = m.policies, m.refused
	loaded.Problems, loaded.More = m.found.fairly()
	for _, found := range lists {
		if m.unsureIn[found.folder] {
			loaded.Partial = loaded.Partial || !found.folder.limited() // what a folder with limits may hold, settle has kept
			superseded = superseded || found.superseded()
		}
	}
	return loaded, superseded
}

// problemList keeps the first MaxProblems by file and line, and counts the rest.
type problemList struct {
	problems Problems
	more     int
}

func (l *problemList) add(more int, problems ...Problem) {
	l.more += more
	l.problems = append(l.problems, problems...)
	if over := len(l.problems) - MaxProblems; over > 0 {
		l.problems.sort()
		l.problems = l.problems[:MaxProblems:MaxProblems]
		l.more += over
	}
}

// problemLists keep the problems of each folder by themselves: those of one must not hide those of another.
type problemLists map[*Folder]*problemList

func (l *problemLists) add(folder *Folder, more int, problems ...Problem) {
	if more == 0 && len(problems) == 0 {
		return
	}
	if *l == nil {
		*l = make(problemLists)
	}
	if (*l)[folder] == nil {
		(*l)[folder] = &problemList{}
	}
	(*l)[folder].add(more, problems...)
}

// fairly are the problems of all folders by file and line, at most MaxProblems, and how many more there are. A folder with few
// problems has all of its own among them.
func (l problemLists) fairly() (all Problems, more int) {
	lists := slices.SortedFunc(maps.Values(l), func(a, b *problemList) int { return cmp.Compare(len(a.problems), len(b.problems)) })
	for i, of := range lists {
		of.problems.sort()
		share := min(len(of.problems), (MaxProblems-len(all))/(len(lists)-i))
		all = append(all, of.problems[:share]...)
		more += of.more + len(of.problems) - share
	}
	all.sort()
	return all, more
}

// merge collects what files hold, in whatever order they come, and then what is in force.
type merge struct {
	mu       sync.Mutex
	docs     []document
	found    problemLists
	unsureIn map[*Folder]bool  // something of the folder could not be read
	broken   map[string]string // file that could not be read in full → its first problem
	policies map[string]*Policy
	refused  map[string]string
}

func (m *merge) take(p parsed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.docs = append(m.docs, p.docs...)
	m.found.add(p.folder, p.more, p.problems...)
	if !p.unsure {
		return
	}
	if m.unsureIn == nil {
		m.unsureIn = make(map[*Folder]bool)
	}
	m.unsureIn[p.folder] = true
	if m.broken == nil {
		m.broken = make(map[string]string)
	}
	if len(m.broken) < MaxProblems { // enough to say why a policy was not found
		m.broken[p.problems[0].File] = p.problems[0].String()
	}
}
