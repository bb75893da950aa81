package model

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Scenario is one world in which a model's rules are tried. R is a struct of bools with one exported field for each rule.
type Scenario[R any, S comparable] struct {
	Name  string
	Model func(rules R) Model[S]
	Needs Needs
	// Open is set for a world in which the promises cannot be kept: the full rule set must break with this violation.
	Open string
	// Soak scenarios are large. They run only with ROTATOR_SOAK=1.
	Soak bool
}

// Needs names the rules that a scenario cannot do without, by their fields, each with a part of the violation that turning it off
// leads to.
type Needs map[string]string

// Check shows that the full rule set holds in every scenario, and that each rule is needed: turned off by itself, it leads to a
// violation in at least one scenario. A rule that no scenario needs fails the test.
func Check[R any, S comparable](t *testing.T, scenarios []Scenario[R, S]) {
	t.Helper()
	needed := make(map[string]bool)
	for _, sc := range scenarios {
		for rule := range sc.Needs {
			needed[rule] = needed[rule] || !sc.Soak
		}
		if !sc.Soak || os.Getenv("ROTATOR_SOAK") != "" {
			t.Run(sc.Name, func(t *testing.T) { check(t, sc) })
		}
	}
	for i := range reflect.TypeFor[R]().NumField() {
		rule := reflect.TypeFor[R]().Field(i)
		if !needed[rule.Name] {
			t.Errorf("no scenario needs rule %s: remove it", rule.Name)
		}
	}
}

func check[R any, S comparable](t *testing.T, sc Scenario[R, S]) {
	Expect(t, sc.Model(All[R]()), sc.Open)
	for _, rule := range slices.Sorted(maps.Keys(sc.Needs)) {
		t.Run("without "+rule, func(t *testing.T) {
			if sc.Needs[rule] == "" {
				t.Fatal("the violation must be named")
			}
			Expect(t, sc.Model(allBut[R](rule)), sc.Needs[rule])
		})
	}
}

// Expect explores m and compares what is found with want, a part of the violation; empty means that the model holds.
func Expect[S comparable](t *testing.T, m Model[S], want string) {
	t.Helper()
	r := Explore(m)
	t.Log(r)
	if want == "" && r.Violation != "" || want != "" && !strings.Contains(r.Violation, want) {
		t.Errorf("found violation %q, want %q", r.Violation, want)
	}
}

// All returns the rules with each one on.
func All[R any]() R { return allBut[R]("") }

// allBut returns the rules with each one on but the named one.
func allBut[R any](off string) R {
	var rules R
	v := reflect.ValueOf(&rules).Elem()
	for i := range v.NumField() {
		v.Field(i).SetBool(v.Type().Field(i).Name != off)
	}
	if off != "" && !v.FieldByName(off).IsValid() {
		panic("no rule named " + off)
	}
	return rules
}

// String shows the violation with its path, one step a line; equal steps in a row are counted.
func (r Result) String() string {
	if r.Violation == "" {
		return fmt.Sprintf("%d states: holds", r.States)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d states: %s", r.States, r.Violation)
	for i := 0; i < len(r.Path); {
		n := 1
		for i+n < len(r.Path) && r.Path[i+n] == r.Path[i] {
			n++
		}
		fmt.Fprintf(&b, "\n  - %s", r.Path[i])
		if n > 1 {
			fmt.Fprintf(&b, " (%d times)", n)
		}
		i += n
	}
	return b.String()
}
