package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// A rowWriter updates rows of a table that were loaded. It writes the columns that changed and no others, so that no index and
// no CHECK of the others is looked at, and what others wrote in them stays.
type rowWriter[T any] struct {
	table[T]
	key    []string // the columns that name a row; the policy is among them
	fixed  []string // the columns that never change
	shared []string // the columns that others write too
	guard  string   // a condition that a row must meet to be written, or ""
	// agrees is a condition on a row that goes to a state; ok is false where there is no such state.
	agrees func(to string) (condition string, ok bool)
}

// A change is a row as it was loaded, and as it is to be.
type change[T any] struct {
	was, now T
	doubted  bool // the row may differ from was by what the owner wrote last
}

// put updates a row of the policy. errNoRow: no row agrees, or a column would change that may not.
func (w rowWriter[T]) put(ctx context.Context, t tx, policy string, c *change[T]) error {
	err := w.update(ctx, t, policy, c)
	if err != nil {
		args := w.args(&c.now)
		return fmt.Errorf("%s %s%s: %w", w.name, args[0], w.state(args), err)
	}
	return nil
}

func (w rowWriter[T]) update(ctx context.Context, t tx, policy string, c *change[T]) error {
	query, args, err := w.statement(policy, c)
	if err != nil || query == "" {
		return err
	}
	n, err := t.exec(ctx, query, args...)
	if err == nil && n == 0 {
		err = errNoRow
	}
	return err
}

// statement is the UPDATE of a row, "" where nothing is to be written.
func (w rowWriter[T]) statement(policy string, c *change[T]) (query string, args []any, err error) {
	was, now := w.fields(&c.was), w.fields(&c.now)
	var set, where strings.Builder
	param := func(to *strings.Builder, column string, v any) {
		args = append(args, v)
		to.WriteString(column)
		to.WriteString(" = $")
		to.WriteString(strconv.Itoa(len(args)))
	}
	for i, column := range w.names {
		same := sameValue(was[i], now[i])
		switch {
		case i == w.policy && value(now[i]) != any(policy):
			return "", nil, fmt.Errorf("%w: %s: a row of policy %q", journal.ErrForbidden, w.name, value(now[i]))
		case slices.Contains(w.key, column):
			between(&where, " WHERE ", " AND ")
			param(&where, column, value(now[i]))
		case slices.Contains(w.fixed, column) && !same:
			return "", nil, errNoRow
		case slices.Contains(w.fixed, column):
		case !same, c.doubted && !slices.Contains(w.shared, column):
			between(&set, " SET ", ", ")
			param(&set, column, value(now[i]))
		}
	}
	if set.Len() == 0 {
		return "", nil, nil
	}
	if i := slices.Index(w.names, "state"); i >= 0 {
		from, to := value(was[i]).(string), value(now[i]).(string)
		condition, ok := w.agrees(to)
		if !ok {
			return "", nil, fmt.Errorf("%w: no state %q", journal.ErrForbidden, to)
		}
		where.WriteString(" AND ")
		if from == to && !c.doubted {
			param(&where, "state", from)
		} else {
			where.WriteString(condition)
		}
	}
	return "UPDATE " + w.name + set.String() + where.String() + w.guard, args, nil
}

func between(b *strings.Builder, first, others string) {
	if b.Len() == 0 {
		b.WriteString(first)
	} else {
		b.WriteString(others)
	}
}

// value is what is at a place in a row, as the drivers take it.
func value(place any) any {
	switch p := place.(type) {
	case *string:
		return *p
	case *int:
		return int64(*p)
	case *int64:
		return *p
	case instant:
		return micros(*p.t)
	case flag:
		return bit(*p.b)
	}
	panic(fmt.Sprintf("sqldb: a column of type %T", place)) // every table is written in a test
}

// sameValue compares what is at a place of two rows.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case *string:
		return *a == *b.(*string)
	case *int:
		return *a == *b.(*int)
	case *int64:
		return *a == *b.(*int64)
	case instant:
		return sameInstant(*a.t, *b.(instant).t)
	case flag:
		return *a.b == *b.(flag).b
	}
	panic(fmt.Sprintf("sqldb: a column of type %T", a))
}

func sameInstant(a, b time.Time) bool { return a.IsZero() == b.IsZero() && a.Equal(b) }

// agreesByState are the conditions of rows whose state moves by a table of states: the state that they are in may go there.
func agreesByState[I any, S ~string](states []I, of func(I) S, may func(from, to S) bool) func(string) (string, bool) {
	conditions := make(map[string]string, len(states))
	for _, to := range states {
		var from []S
		for _, i := range states {
			if may(of(i), of(to)) {
				from = append(from, of(i))
			}
		}
		conditions[string(of(to))] = "state IN (" + quoted(from) + ")"
	}
	return func(to string) (string, bool) {
		c, ok := conditions[to]
		return c, ok
	}
}

// The writers of a record's rows.
var (
	rotationWriter = rowWriter[journal.Rotation]{
		table: rotations, key: []string{"id", "policy"},
		agrees: agreesByState(journal.States, func(i journal.StateInfo) journal.State { return i.State }, journal.State.May),
	}
	// What lists say of a key, [DB.SaveList] writes too.
	keyWriter = rowWriter[journal.Key]{
		table: keys, key: []string{"ref", "policy"}, fixed: []string{"name"}, shared: strings.Fields(listedKeyColumns),
		agrees: agreesByState(journal.KeyStates, keyState, journal.KeyState.May),
	}
	// What is closed stays closed, nothing that was sent is open again, and an effect is of one change forever.
	effectWriter = rowWriter[journal.Effect]{
		table: effects, key: []string{"id", "policy"}, fixed: []string{"key_ref", "kind", "target_store", "target_path", "target_field", "at"},
		guard: " AND closed_at IS NULL",
		agrees: func(to string) (string, bool) {
			if to == string(journal.EffectOpen) {
				return "state = 'open'", true
			}
			return "true", true // a CHECK knows the states
		},
	}
	targetWriter = rowWriter[journal.Target]{table: targets, key: []string{"policy", "store", "path", "field"}}
)
