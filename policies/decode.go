package policies

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxItems of any list, and keys of any mapping: more is a mistake, or an attack with aliases.
const maxItems = 256

// decoder fills a Policy from YAML nodes, strictly: a key that is not known, given twice or missing, and a value of
// another type are problems, each with its place. It goes by the struct tags from which the JSON Schema is generated too.
// The YAML library's own decoding into structs stops at values that it can bend (1.5 for an integer) and quotes values.
type decoder struct {
	file     string
	folder   *Folder // whose limits hold; nil: none
	shapes   map[reflect.Type]shape
	problems Problems        // the first MaxProblems of the file
	count    int             // of all problems of the file
	first    string          // the first problem of the present document, "" without one
	failed   map[string]bool // top-level keys of the present document that have a problem
}

// fail records a problem at node n. Path is the key from the policy's top, such as targets[0].path.
func (d *decoder) fail(n *yaml.Node, path, what, want string) {
	d.add(Problem{File: d.file, Line: n.Line, Column: n.Column, What: what, Want: want})
	top, _, _ := strings.Cut(path, ".")
	top, _, _ = strings.Cut(top, "[")
	if d.failed == nil {
		d.failed = map[string]bool{}
	}
	d.failed[top] = true
}

// failAll counts every key of a mapping as one that has a problem: none was read.
func (d *decoder) failAll(s shape, prefix string) {
	for _, f := range s {
		if prefix == "" {
			d.failed[f.key] = true
		}
	}
}

// add records a problem. A file can have a hundred thousand: only the first ones are kept.
func (d *decoder) add(p Problem) {
	d.count++
	if d.first == "" {
		d.first = p.String()
	}
	if len(d.problems) < MaxProblems {
		d.problems = append(d.problems, p)
	}
}

// resolve follows an alias. The library has refused aliases without an anchor, and a list that holds itself ends where a
// policy's own depth ends.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

var durationType = reflect.TypeFor[Duration]()

// value decodes n into v, which keeps what it held where there is a problem.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	n = resolve(n)
	switch kind := v.Kind(); {
	case v.Type() == adoptType:
		d.adopt(n, v, path)
	case kind == reflect.Struct:
		d.mapping(n, v, path)
	case kind == reflect.Slice:
		d.list(n, v, path)
	case kind == reflect.Map:
		d.named(n, v, path)
	case kind == reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		before := d.count
		d.value(n, to.Elem(), path)
		if d.count == before {
			v.Set(to)
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	tag := ""
	if n.Kind == yaml.ScalarNode {
		tag = n.ShortTag()
	}
	switch {
	case tag == "!!null":
		d.fail(n, path, path+" has no value", "a value, or the line left out")
	case v.Type() == durationType:
		parsed, err := ParseDuration(n.Value)
		if tag != "!!str" || err != nil {
			d.fail(n, path, path+quoted(n)+" is no duration of at most ten years", durationForm)
			return
		}
		v.SetInt(int64(parsed))
	case v.Kind() == reflect.String:
		if tag != "!!str" {
			d.fail(n, path, path+quoted(n)+" is "+article(n)+", not text", "text, in quotes where it looks like something else")
			return
		}
		if strings.TrimSpace(n.Value) == "" {
			d.fail(n, path, path+" is empty", "a value, or the line left out")
			return
		}
		if HoldsKey(n.Value) {
			d.fail(n, path, path+KeyPasted, KeyPastedWant)
			return
		}
		v.SetString(n.Value)
	case v.Kind() == reflect.Int:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if tag != "!!int" || err != nil || i < 1 {
			d.fail(n, path, path+quoted(n)+" is no whole number from 1 on", "a number such as 5, without quotes")
			return
		}
		v.SetInt(i)
	case v.Kind() == reflect.Bool:
		if tag != "!!bool" {
			d.fail(n, path, path+quoted(n)+" is neither true nor false", "true or false, without quotes")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	default:
		panic("policies: no decoding for " + v.Type().String()) // a new field of a new type: the tests of all fields fail
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	switch {
	case n.Kind != yaml.SequenceNode:
		d.fail(n, path, path+" is "+article(n)+", not a list", "a list, even of one: [...]")
		return
	case len(n.Content) == 0:
		d.fail(n, path, path+" is empty", "at least one")
		return
	case len(n.Content) > maxItems:
		d.fail(n, path, fmt.Sprintf("%s has %d items", path, len(n.Content)), fmt.Sprintf("at most %d", maxItems))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
}

// named decodes a mapping whose keys are the author's own.
func (d *decoder) named(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, path+" is "+article(n)+", not a mapping", "names and values, such as {tier: prod}")
		return
	}
	if keys := len(n.Content) / 2; keys > maxItems {
		d.fail(n, path, fmt.Sprintf("%s has %d keys", path, keys), fmt.Sprintf("at most %d", maxItems))
		return
	}
	of := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || HoldsKey(key.Value) {
			d.fail(key, path, path+" has a key that is no plain word", "keys written out, without merging (<<)")
			continue
		}
		name := reflect.ValueOf(key.Value)
		if of.MapIndex(name).IsValid() {
			d.fail(key, path, fmt.Sprintf("%s%s is given twice", path, quote(key.Value)), "it once")
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		item := path
		if plain := strings.Trim(quote(key.Value), ` "`); plain != "" { // else it may be a credential in the wrong place
			item += "." + plain
		}
		d.value(n.Content[i+1], value, item)
		of.SetMapIndex(name, value)
	}
	v.Set(of)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		name := path
		if name == "" {
			name = "the document"
		}
		d.fail(n, path, name+" is "+article(n)+", not a mapping", "keys and values: "+strings.Join(d.shapes[v.Type()].keys(), ", "))
		return
	}
	prefix := path
	if prefix != "" {
		prefix += "."
	}
	if keys := len(n.Content) / 2; keys > maxItems { // none of this is worth a line each
		d.fail(n, path, fmt.Sprintf("%s has %d keys", cmp.Or(path, "the document"), keys), fmt.Sprintf("at most %d", maxItems))
		d.failAll(d.shapes[v.Type()], prefix)
		return
	}
	shape := d.shapes[v.Type()]
	seen := make([]int, len(shape)) // line of each field's key
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		at := shape.index(key)
		if at < 0 {
			d.unknown(key, shape, prefix)
			continue
		}
		name := prefix + shape[at].key
		if seen[at] > 0 {
			d.fail(n.Content[i], name, fmt.Sprintf("%s is given twice, first on line %d", name, seen[at]), "it once")
			continue
		}
		seen[at] = n.Content[i].Line
		d.value(n.Content[i+1], v.Field(shape[at].index), name)
	}
	for at, f := range shape {
		if f.required && seen[at] == 0 {
			d.fail(n, prefix+f.key, prefix+f.key+" is missing", "a value: it is required")
		}
	}
}

func (d *decoder) unknown(key *yaml.Node, s shape, prefix string) {
	switch {
	case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
		d.fail(key, "", "a key is no plain word", "keys written out, without merging (<<)")
		return
	case prefix == "":
		prefix = "key"
	default:
		prefix = "key in " + strings.TrimSuffix(prefix, ".")
	}
	want := "one of " + strings.Join(s.keys(), ", ")
	if near := suggest(key.Value, s.keys()); near != "" {
		want = near + " (did you mean that?)"
	}
	what := "unknown " + prefix
	if word.MatchString(key.Value) {
		what += quote(key.Value)
	}
	d.fail(key, "", what, want)
}

// word is the form of what is quoted of a key: a line of another kind of file, such as one of passwords, never has it.
var word = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// foreign reports whether a document has nothing of a policy: none of its keys is one, or nearly. It may be any file, and
// nothing of it is quoted.
func (d *decoder) foreign(root *yaml.Node, s shape) bool {
	if root = resolve(root); root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(root.Content); i += 2 {
		if key := resolve(root.Content[i]); s.index(key) >= 0 || suggest(key.Value, s.keys()) != "" {
			return false
		}
	}
	d.fail(root, "", "this is no policy: it has none of a policy's keys", "keys and values: "+strings.Join(s.keys(), ", "))
	return true
}

// shape is what YAML may say about a struct, by its tags and in its order.
type shape []field

type field struct {
	key      string
	index    int // in the struct
	required bool
}

func (s shape) keys() []string {
	list := make([]string, len(s))
	for i, f := range s {
		list[i] = f.key
	}
	return list
}

// index is that of the field with this key, -1 if there is none.
func (s shape) index(key *yaml.Node) int {
	if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
		return -1
	}
	return slices.IndexFunc(s, func(f field) bool { return f.key == key.Value })
}

// shapesOf is the shape of every struct that t holds, and of t.
func shapesOf(t reflect.Type) map[reflect.Type]shape {
	all := map[reflect.Type]shape{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return
		}
		var s shape
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" || key == "-" {
				continue
			}
			s = append(s, field{key, i, strings.HasPrefix(f.Tag.Get("jsonschema"), "required")})
			if f.Type != adoptType {
				add(f.Type)
			}
		}
		all[t] = s
	}
	add(t)
	return all
}

// quoted is quote for a scalar, and nothing for what has no text of its own.
func quoted(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return quote(n.Value)
}

// article names the kind of a node in a sentence.
func article(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	case "!!str":
		return "text"
	}
	return "a value with a tag"
}

// find is the node of a value by its path from the policy's top: string keys and int indices. Where a step is missing it
// is the node above, so that a problem with a default still has a place.
func find(n *yaml.Node, path ...any) *yaml.Node {
	n = resolve(n)
	for _, step := range path {
		next := (*yaml.Node)(nil)
		switch step := step.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && step < len(n.Content) {
				next = n.Content[step]
			}
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if resolve(n.Content[i]).Value == step {
					next = n.Content[i+1]
					break
				}
			}
		}
		if next == nil {
			break
		}
		n = resolve(next)
	}
	return n
}
