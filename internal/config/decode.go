package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"rotator/policies"
)

// nameForm is what teams and stores may be called: the same as in policies, which name them.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

const (
	nameWant      = "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"
	referenceWant = "a reference, env:NAME, file:PATH or credential:NAME: a secret is never in this file"
)

// decoder fills a Config from YAML nodes, strictly: an unknown key, one given twice or missing, and a value of another
// type are problems, each with its place. The YAML library's own decoding quotes the values that it refuses.
type decoder struct {
	file, dir string
	env       Env
	problems  policies.Problems
}

func (d *decoder) fail(n *yaml.Node, what, want string) {
	d.problems = append(d.problems, policies.Problem{File: d.file, Line: n.Line, Column: n.Column, What: what, Want: want})
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// value decodes n into v, which keeps what it held where there is a problem.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.fail(n, path+" has no value", "a value, or the line left out")
		return
	}
	switch to := v.Addr().Interface().(type) {
	case *Reference, *State, *Value, *policies.Duration:
		d.special(n, to, path)
		return
	case *Store:
		d.store(n, to, path)
		return
	case *Pairs:
		d.pairs(n, to, path)
		return
	case *Addresses:
		d.addresses(n, to, path)
		return
	case *Moment:
		d.moment(n, to, path)
		return
	case *Policies:
		d.policies(n, to, path)
		return
	case *Values:
		d.values(n, to, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Map:
		d.named(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Pointer:
		to := reflect.New(v.Type().Elem())
		d.value(n, to.Elem(), path)
		v.Set(to)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	tag := ""
	if n.Kind == yaml.ScalarNode {
		tag = n.ShortTag()
	}
	switch v.Kind() {
	case reflect.String:
		if tag != "!!str" || strings.TrimSpace(n.Value) == "" {
			d.fail(n, path+" is "+kind(n)+", not text", "text, in quotes where it looks like something else")
			return
		}
		if policies.HoldsKey(n.Value) {
			d.fail(n, path+policies.KeyPasted, policies.KeyPastedWant)
			return
		}
		v.SetString(n.Value)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if tag != "!!int" || err != nil || i < 1 {
			d.fail(n, path+" is no whole number from 1 on", "a number such as 16")
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		if tag != "!!bool" {
			d.fail(n, path+" is neither true nor false", "true or false, without quotes")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	default:
		panic("config: no decoding for " + v.Type().String()) // a new field of a new type: the test of all fields fails
	}
}

// special decodes the types that are more than their text. None of their problems quotes the value.
func (d *decoder) special(n *yaml.Node, to any, path string) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		want := "text"
		if _, ok := to.(*Reference); ok {
			want = referenceWant
		}
		d.fail(n, path+" is "+kind(n)+", not text", want)
		return
	}
	ref, isRef := parseReference(n.Value, d.dir, d.env)
	switch to := to.(type) {
	case *policies.Duration:
		parsed, err := policies.ParseDuration(n.Value)
		if err != nil || parsed == 0 {
			d.fail(n, path+" is no duration above zero", "a duration such as 90s, 15m, 24h or 7d")
			return
		}
		*to = parsed
	case *Reference:
		if !isRef {
			d.fail(n, path+" is no reference", referenceWant)
			ref = Reference{kind: "none"} // it was given: that it is missing would be a second problem
		}
		*to = ref
	case *State:
		d.state(n, to, ref, isRef)
	case *Value:
		if isRef {
			to.ref = ref
		} else {
			to.text = n.Value
		}
	}
}

// moment decodes a day or an instant, in quotes or without.
func (d *decoder) moment(n *yaml.Node, to *Moment, path string) {
	m, err := policies.ParseMoment(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.fail(n, path+" is neither a day nor an instant", policies.MomentWant)
		return
	}
	to.Moment = m
}

// list decodes a list.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		d.fail(n, path+" is "+kind(n)+", not a list with something in it", "a list, even of one: [...]")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// named decodes a mapping whose keys are names that the user chose.
func (d *decoder) named(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.fail(n, path+" is "+kind(n)+", not names and what each stands for", path+": {NAME: {...}}")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		if key.Kind != yaml.ScalarNode || !nameForm.MatchString(key.Value) {
			d.fail(n.Content[i], "a name in "+path+" is not valid", nameWant)
			continue
		}
		if line, twice := lines[key.Value]; twice {
			d.fail(n.Content[i], fmt.Sprintf("%s.%s is given twice, first on line %d", path, key.Value, line), "it once")
			continue
		}
		lines[key.Value] = key.Line
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], item, path+"."+key.Value)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	}
}

// mapping decodes a mapping whose keys are the fields of a struct.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	t := v.Type()
	if n.Kind != yaml.MappingNode {
		d.fail(n, orDocument(path)+" is "+kind(n)+", not a mapping", "keys and values: "+strings.Join(keysOf(t), ", "))
		return
	}
	prefix := path
	if prefix != "" {
		prefix += "."
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		f := slices.Index(keysOf(t), key.Value)
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || f < 0 {
			d.unknown(key, orDocument(path), keysOf(t))
			continue
		}
		if line, twice := lines[key.Value]; twice {
			d.fail(n.Content[i], fmt.Sprintf("%s%s is given twice, first on line %d", prefix, key.Value, line), "it once")
			continue
		}
		lines[key.Value] = key.Line
		d.value(n.Content[i+1], v.Field(f), prefix+key.Value)
	}
	for i, name := range keysOf(t) {
		if lines[name] == 0 && t.Field(i).Tag.Get("jsonschema") == "required" {
			d.fail(n, prefix+name+" is missing", "it given: it is required")
		}
	}
}

// store decodes one store: its type says into what.
func (d *decoder) store(n *yaml.Node, s *Store, path string) {
	kinds := map[string]func() reflect.Value{
		"vault":      func() reflect.Value { s.Vault = &Vault{}; return reflect.ValueOf(s.Vault).Elem() },
		"aws":        func() reflect.Value { s.AWS = &AWS{}; return reflect.ValueOf(s.AWS).Elem() },
		"file":       func() reflect.Value { s.File = &File{}; return reflect.ValueOf(s.File).Elem() },
		"kubernetes": func() reflect.Value { s.Kubernetes = &Kubernetes{}; return reflect.ValueOf(s.Kubernetes).Elem() },
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path+" is "+kind(n)+", not a mapping", "{type: vault|aws|file|kubernetes, ...}")
		return
	}
	t := find(n, "type")
	if t == n || t.Kind != yaml.ScalarNode {
		d.fail(n, path+".type is missing", "vault, aws, file or kubernetes")
		return
	}
	into := kinds[t.Value]
	if into == nil {
		d.fail(t, path+".type is not known", "vault, aws, file or kubernetes"+meant(t.Value, []string{"vault", "aws", "file", "kubernetes"}))
		return
	}
	s.Type = t.Value
	d.mapping(n, into(), path)
}

func (d *decoder) unknown(key *yaml.Node, in string, known []string) {
	if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
		d.fail(key, "a key in "+in+" is no plain word", "keys written out, without merging (<<)")
		return
	}
	what := "unknown key in " + in
	if wordForm.MatchString(key.Value) {
		what = "unknown key " + key.Value + " in " + in
	}
	d.fail(key, what, "one of "+strings.Join(known, ", ")+meant(key.Value, known))
}

// wordForm is all that a problem ever quotes: a short word, too short for a secret.
var wordForm = regexp.MustCompile(`^[a-z_]{1,24}$`)

// keysOf are the YAML keys of a struct, in the order of its fields; "-" has none.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "-" {
			keys = append(keys, key)
		}
	}
	return keys
}

func orDocument(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// kind names what a node is in a sentence, without its content.
func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case strings.TrimSpace(n.Value) == "":
		return "empty"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "text"
}

// find is the node at a path of keys. Where a step is missing it is the node above, so that a problem has a place.
func find(n *yaml.Node, path ...string) *yaml.Node {
	n = resolve(n)
	for _, step := range path {
		var next *yaml.Node
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if resolve(n.Content[i]).Value == step {
				next = resolve(n.Content[i+1])
				break
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	return n
}
