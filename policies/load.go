package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rotator/internal/trust"
)

const (
	maxFile      = 1 << 20 // the size of the largest file that is read, in bytes
	maxDocuments = 5000    // of one file: the shortest policies of a whole file are fewer

	// MaxProblems is how many problems of a file, and of a whole load, are kept; the rest are counted.
	MaxProblems = 100
)

// Limits are the daemon's limits that a policy must keep to.
type Limits struct {
	// MinInterval is the shortest interval between two rotations of a policy. 0 means one hour.
	MinInterval time.Duration
}

// Options is what a policy is checked against. The zero value checks a policy by itself.
type Options struct {
	Limits
	// Stores and Teams that rotator.yaml knows: name → type ("vault", "aws", "file", …; of a team, anything).
	// Nil: not known, so not checked; an empty map means that there are none.
	Stores, Teams map[string]string
	// Accepted are the policies in force before this load, by name. In a conflict they win over newcomers, and they stay in
	// force where the files' word on them is refused or cannot be read.
	Accepted map[string]Accepted
	// Removed are policies that were in force once, are in no file any more, and are not forgotten. Their names are their folder's.
	Removed map[string]Accepted
	// Guard says whose files [Load] reads. The zero value: those of root and of this process's user.
	Guard trust.Guard
}

// Accepted is a policy as an earlier load accepted it.
type Accepted struct {
	File      string // that it was read from
	Canonical string // see [Policy.Canonical]
}

// document is a policy and the places that checks over all policies report.
type document struct {
	policy        *Policy
	folder        *Folder // that it was read from; nil of one that was parsed by itself
	name, renamed mark
	targets       []mark
	refused       string // its first problem; "" of a policy that is sound by itself
}

// parsed is what a file holds.
type parsed struct {
	docs     []document // sound ones, and broken ones whose name is known
	problems Problems   // at most MaxProblems
	more     int        // problems beyond those
	folder   *Folder    // of the file
	unsure   bool       // the file, or a document whose name is not known, could not be read: it may hold any policy
}

type mark struct{ line, column int }

func markOf(n *yaml.Node) mark { return mark{n.Line, n.Column} }

// loader parses files; its cache is shared by all goroutines of one load.
type loader struct {
	options    Options
	folders    []*Folder
	shapes     map[reflect.Type]shape
	zones      memo[string, *zone]
	timetables memo[[2]string, *timetable] // schedule and zone → compiled
}

func newLoader(o Options) *loader {
	return &loader{options: o, shapes: shapesOf(reflect.TypeFor[Policy]())}
}

// Parse reads the policies in one file. It returns either all of them, in their order, or all problems: at most
// MaxProblems, and then one that counts the rest.
func Parse(file string, data []byte, o Options) ([]*Policy, Problems) {
	l := newLoader(o)
	read := l.parse(file, data, nil)
	m := merge{policies: make(map[string]*Policy), refused: make(map[string]string)}
	m.take(read)
	l.settle(&m)
	if found, more := m.found.fairly(); len(found) > 0 {
		return nil, Loaded{Problems: found, More: more}.All()
	}
	list := make([]*Policy, len(read.docs))
	for i, d := range read.docs {
		list[i] = d.policy
	}
	return list, nil
}

// unreadable is a file that says nothing for certain.
func unreadable(p Problem, folder *Folder) parsed {
	return parsed{problems: Problems{p}, folder: folder, unsure: true}
}

// parse reads the documents of one file and checks each by itself. Where one cannot be read as YAML, none counts: what
// is before the mistake may be cut short by it.
func (l *loader) parse(file string, data []byte, folder *Folder) (read parsed) {
	read.folder = folder
	if len(data) > maxFile {
		return unreadable(Problem{File: file, What: "the file is larger than 1 MiB", Want: "smaller files"}, folder)
	}
	d := &decoder{file: file, folder: folder, shapes: l.shapes}
	defer func() {
		if recover() != nil { // a reload must not end the daemon, whatever a parser does
			read = unreadable(Problem{File: file, What: "the file cannot be parsed", Want: "YAML"}, folder)
		}
	}()
	count := 0
	stream, err := yaml.NewLoader(bytes.NewReader(data))
	for err == nil {
		var node yaml.Node
		if err = stream.Load(&node); err != nil {
			break
		}
		root := &node
		if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
			root = node.Content[0]
		}
		if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
			continue // nothing between two ---
		}
		if count++; count > maxDocuments {
			return unreadable(Problem{File: file, Line: root.Line, What: fmt.Sprintf("the file has more than %d documents", maxDocuments), Want: "several files"}, folder)
		}
		if doc, ok := l.document(d, root); ok {
			read.docs = append(read.docs, doc)
		} else {
			read.unsure = true
		}
	}
	if !errors.Is(err, io.EOF) {
		read.docs, read.unsure = nil, true
		d.add(syntaxProblem(file, err))
	} else if count == 0 {
		return unreadable(Problem{File: file, What: "the file holds no policy", Want: "a policy, or no file"}, folder)
	}
	d.problems.sort()
	read.problems, read.more = d.problems, d.count-len(d.problems)
	return read
}

// document decodes and checks one policy. It is false where it is broken and does not even say which policy it is.
func (l *loader) document(d *decoder, root *yaml.Node) (document, bool) {
	p := &Policy{File: d.file, Line: root.Line}
	p.Retire.Overlap, p.Retire.Soak = Duration(day), Duration(day)
	d.failed, d.first = nil, ""
	before := d.count
	if d.foreign(root, l.shapes[reflect.TypeFor[Policy]()]) {
		return document{}, false
	}
	d.value(root, reflect.ValueOf(p).Elem(), "")
	if resolve(root).Kind != yaml.MappingNode {
		return document{}, false
	}
	l.validate(d, p, root)
	if d.failed["name"] || d.failed["renamed_from"] {
		return document{}, false
	}
	doc := document{policy: p, folder: d.folder, name: markOf(find(root, "name")), renamed: markOf(find(root, "renamed_from"))}
	if broken := d.count - before; broken > 0 {
		doc.refused = d.first + andMore(broken-1)
	}
	doc.targets = make([]mark, len(p.Targets))
	for i := range p.Targets {
		doc.targets[i] = markOf(find(root, "targets", i))
	}
	return doc, true
}

// syntaxProblem is an error of the YAML library without what it quotes of the file. The messages of the scanner and the
// parser are fixed texts; those of later stages hold values.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, What: "this is not YAML", Want: "YAML, see the examples"}
	var e *yaml.LoadError
	if errors.As(err, &e) {
		p.Line, p.Column = e.Mark.Line, e.Mark.Column
		switch e.Stage {
		case "reader", "scanner", "parser":
			message, _, _ := strings.Cut(e.Message, " (") // the reader adds the byte it met
			p.What += ": " + message
		}
	}
	return p
}
