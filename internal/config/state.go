package config

import (
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// ParseState reads a journal's address as it could be under `state`: paths are taken from the working folder. Its
// error is a policies.Problems that names where, and quotes nothing.
func ParseState(where, text string, env Env) (s State, err error) {
	dir, err := filepath.Abs(".")
	if err != nil {
		return State{}, err
	}
	d := &decoder{file: where, dir: dir, env: env}
	d.special(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}, &s, "state")
	if len(d.problems) > 0 {
		return State{}, d.problems
	}
	return s, nil
}
