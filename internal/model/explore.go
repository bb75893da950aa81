// Package model checks small models of the engine's rules exhaustively.
//
// A model is a state (a comparable struct), the steps that the program, the world and people can make from it, and two promises:
// no step breaks anything (Broken), and from every state the program and the world alone can reach a state in which nothing is
// owed (Owed). Explore visits every state, shortest path first, so that a violation comes with a shortest path to it.
//
// Each folder below holds one model, its rules as named switches, and one test. The test shows that the full rule set holds, and
// that the search finds a violation as soon as any one rule is turned off. Run with -v to read the paths.
//
// Limits: only what can never be repaired counts as stuck, so an outage of bounded length is not seen. Fairness is not modeled: a
// loop that can be left counts as left. A crash needs no step of its own where each step is one commit with its effect: the
// process may then die between any two steps, and the model goes on with whatever step comes next.
package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Actor says who makes a step.
type Actor byte

// The actors.
const (
	Program Actor = iota // the engine
	World                // messages land, time passes, processes die, xAI and stores fail
	Person               // commands and edits; nothing may depend on their coming
)

// Step reports one possible step to a state. Format and args say what happens; they are only formatted for a path that is shown.
type Step[S comparable] func(by Actor, to S, format string, args ...any)

// Model is a small part of the engine and its world.
type Model[S comparable] struct {
	Start []S
	// Next reports every step that is possible in s. It must depend on s alone.
	Next func(s S, step Step[S])
	// Broken names the promise that a step breaks, or returns "".
	Broken func(from S, by Actor, to S) string
	// Owed names what is still to be done in a state, or returns "". Nil means that nothing ever is.
	Owed func(s S) string
	// MaxStates bounds the search; a larger model is reported as a violation. Zero means three million.
	MaxStates int
}

// Result is what a search found.
type Result struct {
	States    int
	Violation string   // empty: the model holds
	Path      []string // the shortest way to the violation
}

type search[S comparable] struct {
	m      Model[S]
	index  map[S]int32
	states []S
	parent []int32
	edges  [][2]int32 // steps of program and world, from and to; only where something can be owed
}

// Explore visits every state of m. It stops at the first step that breaks a promise.
func Explore[S comparable](m Model[S]) Result {
	if m.MaxStates == 0 {
		m.MaxStates = 3_000_000
	}
	x := &search[S]{m: m, index: make(map[S]int32)}
	for _, s := range m.Start {
		x.add(s, -1)
	}
	for i := 0; i < len(x.states); i++ {
		if len(x.states) > m.MaxStates {
			return Result{len(x.states), fmt.Sprintf("more than %d states", m.MaxStates), nil}
		}
		if violation, last := x.expand(int32(i)); violation != "" {
			return Result{len(x.states), violation, append(x.path(int32(i)), last)}
		}
	}
	if m.Owed == nil {
		return Result{States: len(x.states)}
	}
	return x.findStuck()
}

func (x *search[S]) add(s S, parent int32) int32 {
	if i, ok := x.index[s]; ok {
		return i
	}
	i := int32(len(x.states))
	x.index[s] = i
	x.states, x.parent = append(x.states, s), append(x.parent, parent)
	return i
}

// expand adds the states that follow state i. If a step breaks a promise, it returns the promise and the step.
func (x *search[S]) expand(i int32) (violation, last string) {
	from := x.states[i]
	x.m.Next(from, func(by Actor, to S, format string, args ...any) {
		if violation != "" || to == from {
			return
		}
		if x.m.Broken != nil {
			if violation = x.m.Broken(from, by, to); violation != "" {
				last = fmt.Sprintf(format, args...)
				return
			}
		}
		j := x.add(to, i)
		if by != Person && x.m.Owed != nil {
			x.edges = append(x.edges, [2]int32{i, j})
		}
	})
	return violation, last
}

// path returns the steps from a start state to state i. The texts were not kept: they are found again from the states.
func (x *search[S]) path(i int32) []string {
	var steps []string
	for ; x.parent[i] >= 0; i = x.parent[i] {
		text := ""
		x.m.Next(x.states[x.parent[i]], func(_ Actor, to S, format string, args ...any) {
			if text == "" && to == x.states[i] {
				text = fmt.Sprintf(format, args...)
			}
		})
		steps = append(steps, text)
	}
	slices.Reverse(steps)
	return steps
}

// findStuck looks for a state from which program and world alone never reach a state where nothing is owed.
func (x *search[S]) findStuck() Result {
	done := x.canFinish()
	i := slices.Index(done, false)
	if i < 0 {
		return Result{States: len(x.states)}
	}
	path, end := x.path(int32(i)), x.states[i]
	for seen := map[S]bool{end: true}; ; seen[end] = true { // follow it to where it stalls
		from, moved := end, false
		x.m.Next(from, func(by Actor, to S, format string, args ...any) {
			if !moved && by != Person && !seen[to] {
				moved, end = true, to
				path = append(path, fmt.Sprintf(format, args...))
			}
		})
		if !moved {
			return Result{len(x.states), "stuck: " + x.m.Owed(end), path}
		}
	}
}

// canFinish says for each state whether program and world alone can reach a state where nothing is owed: it walks the edges
// backward from the states where nothing is owed.
func (x *search[S]) canFinish() []bool {
	slices.SortFunc(x.edges, func(a, b [2]int32) int { return int(a[1]) - int(b[1]) })
	first := make([]int32, len(x.states)+1) // edges into state i are edges[first[i]:first[i+1]]
	for _, e := range x.edges {
		first[e[1]+1]++
	}
	for i := range x.states {
		first[i+1] += first[i]
	}
	done := make([]bool, len(x.states))
	var todo []int32
	for i, s := range x.states {
		if x.m.Owed(s) == "" {
			done[i] = true
			todo = append(todo, int32(i))
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range x.edges[first[i]:first[i+1]] {
			if !done[e[0]] {
				done[e[0]] = true
				todo = append(todo, e[0])
			}
		}
	}
	return done
}

// Walk makes random steps from a start state until it can go no further or has made as many as given, and returns the first broken
// promise with the path to it. It is for models that are too large to explore.
func Walk[S comparable](m Model[S], random *rand.Rand, most int) Result {
	s := m.Start[random.IntN(len(m.Start))]
	var path []string
	for n := 0; n < most; n++ {
		var to S
		var text string
		var who Actor
		count := 0
		m.Next(s, func(by Actor, next S, format string, args ...any) {
			if next == s {
				return
			}
			if count++; random.IntN(count) == 0 { // each step is as likely as any other
				to, who, text = next, by, fmt.Sprintf(format, args...)
			}
		})
		if count == 0 {
			return Result{States: n}
		}
		path = append(path, text)
		if violation := m.Broken(s, who, to); violation != "" {
			return Result{n, violation, path}
		}
		s = to
	}
	return Result{States: most}
}
