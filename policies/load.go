package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sync/errgroup"
)

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 1 << 20

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
}

// document is a policy and the places that checks over all policies report.
type document struct {
	policy        *Policy
	name, renamed mark
	targets       []mark
}

type mark struct{ line, column int }

func markOf(n *yaml.Node) mark { return mark{n.Line, n.Column} }

// loader parses files; its cache is shared by all goroutines of one load.
type loader struct {
	options    Options
	shapes     map[reflect.Type]shape
	zones      memo[string, *zone]
	timetables memo[[2]string, *timetable] // schedule and zone → compiled
}

func newLoader(o Options) *loader {
	return &loader{options: o, shapes: shapesOf(reflect.TypeFor[Policy]())}
}

// Parse reads the policies in one file. It returns either all of them, in their order, or all problems.
func Parse(file string, data []byte, o Options) ([]*Policy, Problems) {
	l := newLoader(o)
	docs, problems := l.parse(file, data)
	problems = append(problems, l.cross(docs)...)
	if len(problems) > 0 {
		problems.sort()
		return nil, problems
	}
	list := make([]*Policy, len(docs))
	for i, d := range docs {
		list[i] = d.policy
	}
	return list, nil
}

// Load reads every *.yaml and *.yml file in dir, not the folders below it. It returns either all policies, by name, or
// nothing and a [Problems] with every problem of every file. A folder without such files holds no policies, which is
// not an error. A mounted Kubernetes ConfigMap is read from one generation, also while it is being replaced.
func Load(dir string, o Options) (map[string]*Policy, error) {
	files, err := list(dir)
	if err != nil {
		return nil, Problems{{File: dir, What: "the folder cannot be read: " + reason(err), Want: "a readable folder of policies"}}
	}
	l := newLoader(o)
	type result struct {
		docs     []document
		problems Problems
	}
	results := make([]result, len(files))
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, f := range files {
		group.Go(func() error {
			data, problem := f.read()
			if problem != nil {
				results[i].problems = Problems{*problem}
			} else {
				results[i].docs, results[i].problems = l.parse(f.shown, data)
			}
			return nil
		})
	}
	_ = group.Wait() // no function fails: problems are results
	var docs []document
	var problems Problems
	for _, r := range results {
		docs = append(docs, r.docs...)
		problems = append(problems, r.problems...)
	}
	problems = append(problems, l.cross(docs)...)
	if len(problems) > 0 {
		problems.sort()
		return nil, problems
	}
	policies := make(map[string]*Policy, len(docs))
	for _, d := range docs {
		policies[d.policy.Name] = d.policy
	}
	return policies, nil
}

// source is a file to read: where it is, and how problems name it.
type source struct{ path, shown string }

// list finds the files of a folder. In a ConfigMap's folder every visible file is a symlink through ..data, which is
// switched to a new folder when the map changes: the link is followed once, so that all files are of one generation.
func list(dir string) ([]source, error) {
	from := dir
	if generation, err := os.Readlink(filepath.Join(dir, "..data")); err == nil {
		from = generation
		if !filepath.IsAbs(generation) {
			from = filepath.Join(dir, generation)
		}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	var files []source
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" || strings.HasPrefix(name, ".") || e.IsDir() {
			continue
		}
		files = append(files, source{filepath.Join(from, name), filepath.Join(dir, name)})
	}
	return files, nil
}

func (s source) read() ([]byte, *Problem) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, &Problem{File: s.shown, What: "the file cannot be read: " + reason(err), Want: "a readable file"}
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, &Problem{File: s.shown, What: "it is not a file", Want: "a file, or another name for it"}
	}
	f, err := os.Open(s.path)
	if err == nil {
		defer f.Close()
		var data bytes.Buffer
		data.Grow(int(min(info.Size(), maxFile)) + bytes.MinRead)
		if _, err = data.ReadFrom(io.LimitReader(f, maxFile+1)); err == nil {
			return data.Bytes(), nil
		}
	}
	return nil, &Problem{File: s.shown, What: "the file cannot be read: " + reason(err), Want: "a readable file"}
}

// reason is an error of the operating system without the path, which the problem names already.
func reason(err error) string {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err.Error()
	}
	return err.Error()
}

// parse reads the documents of one file and checks each by itself.
func (l *loader) parse(file string, data []byte) (docs []document, problems Problems) {
	if len(data) > maxFile {
		return nil, Problems{{File: file, What: "the file is larger than 1 MiB", Want: "smaller files"}}
	}
	d := &decoder{file: file, shapes: l.shapes}
	defer func() {
		if recover() != nil { // a reload must not end the daemon, whatever a parser does
			docs, problems = nil, Problems{{File: file, What: "the file cannot be parsed", Want: "YAML"}}
		}
	}()
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
		if doc, ok := l.document(d, root); ok {
			docs = append(docs, doc)
		}
	}
	if err != io.EOF {
		d.problems = append(d.problems, syntaxProblem(file, err))
	} else if len(docs) == 0 && len(d.problems) == 0 {
		d.problems = Problems{{File: file, What: "the file holds no policy", Want: "a policy, or no file"}}
	}
	d.problems.sort()
	if more := len(d.problems) - maxFileProblem; more > 0 {
		last := d.problems[maxFileProblem]
		last.What, last.Want = fmt.Sprintf("and %d problems more from here on", more), "the ones above solved first"
		d.problems = append(d.problems[:maxFileProblem:maxFileProblem], last)
	}
	return docs, d.problems
}

// document decodes and checks one policy. It is false where there is nothing to compare with other policies.
func (l *loader) document(d *decoder, root *yaml.Node) (document, bool) {
	p := &Policy{File: d.file, Line: root.Line}
	p.Retire.Overlap, p.Retire.Soak = Duration(day), Duration(day)
	d.failed = nil
	d.value(root, reflect.ValueOf(p).Elem(), "")
	if resolve(root).Kind != yaml.MappingNode {
		return document{}, false
	}
	l.validate(d, p, root)
	doc := document{policy: p, name: markOf(find(root, "name")), renamed: markOf(find(root, "renamed_from"))}
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
