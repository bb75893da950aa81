package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"rotator/internal/trust"
	"rotator/policies"
)

// maxFile is the size of the largest configuration that is read, in bytes.
const maxFile = 1 << 20

// Load reads a configuration. Its error is a [policies.Problems] with everything that is wrong. One that others than root and
// this process's user may write is not read, and neither is one that names a program which they may write: see package trust.
func Load(file string, env Env) (*Config, error) {
	data, problem := read(file, env)
	if problem != nil {
		return nil, policies.Problems{*problem}
	}
	c, err := Parse(file, data, env)
	if err != nil {
		return nil, err
	}
	if command := c.State.command; command != nil {
		if open := (*trust.Error)(nil); errors.As(command.check(), &open) { // one that is not there shows when it is run
			return nil, policies.Problems{{File: file, What: "state names a program that others may change: " + open.What, Want: open.Fix}}
		}
	}
	return c, nil
}

// read returns what a configuration's file holds.
func read(file string, env Env) ([]byte, *policies.Problem) {
	unreadable := func(err error, want string) ([]byte, *policies.Problem) {
		return nil, &policies.Problem{File: file, What: "the configuration cannot be read: " + pathless(err).Error(), Want: want}
	}
	const names = "a readable file: --config FILE, $ROTATOR_CONFIG or /etc/rotator/rotator.yaml"
	if err := env.Guard.Check(file); err != nil {
		if open := (*trust.Error)(nil); errors.As(err, &open) {
			return nil, &policies.Problem{File: file, What: "the configuration is not read: " + open.What, Want: open.Fix}
		}
		return unreadable(err, names)
	}
	f, err := os.Open(file)
	if err != nil {
		return unreadable(err, names)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("it is larger than 1 MiB")
	}
	if err != nil {
		return unreadable(err, "a file of YAML")
	}
	return data, nil
}

// Parse reads a configuration from data. File is how problems name it, and what relative paths start from.
func Parse(file string, data []byte, env Env) (c *Config, err error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	d := &decoder{file: file, dir: filepath.Dir(abs), env: env}
	defer func() {
		if recover() != nil { // a reload must not end the daemon, whatever a parser does
			c, err = nil, policies.Problems{{File: file, What: "the file cannot be parsed", Want: "YAML"}}
		}
	}()
	root, problem := document(file, data)
	if problem != nil {
		return nil, policies.Problems{*problem}
	}
	c = &Config{File: file, Digest: sha256.Sum256(data), guard: env.Guard}
	d.value(root, reflect.ValueOf(c).Elem(), "")
	c.defaults(d.dir, env)
	d.check(c, root)
	if len(d.problems) > 0 {
		slices.SortStableFunc(d.problems, func(a, b policies.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, d.problems
	}
	return c, nil
}

// document returns the one document of a file.
func document(file string, data []byte) (*yaml.Node, *policies.Problem) {
	problem := &policies.Problem{File: file, What: "this is not YAML", Want: "YAML, see the examples"}
	stream, err := yaml.NewLoader(bytes.NewReader(data))
	var node, second yaml.Node
	if err == nil {
		err = stream.Load(&node)
	}
	if errors.Is(err, io.EOF) {
		problem.What, problem.Want = "the file is empty", "at least teams and stores"
		return nil, problem
	}
	if err == nil {
		if err = stream.Load(&second); errors.Is(err, io.EOF) {
			root := &node
			if node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
				root = node.Content[0]
			}
			return root, nil
		}
	}
	var e *yaml.LoadError
	switch {
	case errors.As(err, &e):
		problem.Line, problem.Column = e.Mark.Line, e.Mark.Column
		switch e.Stage {
		case "reader", "scanner", "parser": // their messages are fixed texts; later ones quote values
			problem.What += ": " + e.Message
		}
	case err == nil:
		problem.Line = second.Line
		problem.What, problem.Want = "there is a second document", "one document: policies have files of their own"
	}
	return nil, problem
}
