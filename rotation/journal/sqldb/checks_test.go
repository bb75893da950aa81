package sqldb

import (
	goflag "flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"rotator/rotation/journal"
)

var update = goflag.Bool("update", false, "write the constraints of the state tables into the schema")

// constraints writes CHECKs: which states there are, and which columns each needs and never has.
func constraints(states []string, marks []string, needs, never func(state, mark string) bool) string {
	quoted := func(keep func(string) bool) string {
		var names []string
		for _, s := range states {
			if keep(s) {
				names = append(names, "'"+s+"'")
			}
		}
		return strings.Join(names, ", ")
	}
	lines := []string{fmt.Sprintf("CHECK (state IN (%s))", quoted(func(string) bool { return true }))}
	for _, m := range marks {
		there, absent := m+" IS NOT NULL", m+" IS NULL"
		if m == string(journal.MarkKey) || m == string(journal.MarkKeyID) {
			there, absent = m+" <> ''", m+" = ''"
		}
		if s := quoted(func(s string) bool { return needs(s, m) }); s != "" {
			lines = append(lines, fmt.Sprintf("CHECK (%s OR state NOT IN (%s))", there, s))
		}
		if s := quoted(func(s string) bool { return never(s, m) }); s != "" {
			lines = append(lines, fmt.Sprintf("CHECK (%s OR state NOT IN (%s))", absent, s))
		}
	}
	return "  " + strings.Join(lines, ",\n  ") + "\n"
}

func rotationChecks() string {
	var states []string
	for _, i := range journal.States {
		states = append(states, string(i.State))
	}
	marks := []string{string(journal.MarkKey), string(journal.MarkPromoting), string(journal.MarkLive), string(journal.MarkEnded)}
	return constraints(states, marks,
		func(s, m string) bool { return slices.Contains(journal.State(s).Info().Needs, journal.Mark(m)) },
		func(s, m string) bool { return slices.Contains(journal.State(s).Info().Never, journal.Mark(m)) })
}

func keyChecks() string {
	var states []string
	for _, i := range journal.KeyStates {
		states = append(states, string(i.State))
	}
	marks := []string{string(journal.MarkKeyID), string(journal.MarkExposed), string(journal.MarkDisabled), string(journal.MarkDeleted)}
	return constraints(states, marks,
		func(s, m string) bool { return slices.Contains(journal.KeyState(s).Info().Needs, journal.KeyMark(m)) },
		func(s, m string) bool { return slices.Contains(journal.KeyState(s).Info().Never, journal.KeyMark(m)) })
}

// TestChecksAreTheStateTables keeps the SQL and the tables of states equal to the letter. With -update it writes the SQL.
func TestChecksAreTheStateTables(t *testing.T) {
	t.Parallel()
	const file = "migrations/0001_start.sql"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sql := string(b)
	for mark, want := range map[string]string{
		"-- made from the state table in journal/states.go; a test compares\n":           rotationChecks(),
		"-- made from the table of a key's states in journal/keys.go; a test compares\n": keyChecks(),
	} {
		before, rest, found := strings.Cut(sql, mark)
		got, after, closed := strings.Cut(rest, ");\nCREATE UNIQUE INDEX")
		if !found || !closed {
			t.Fatalf("the schema has no %q", mark)
		}
		if got != want && !*update {
			t.Errorf("the constraints are\n%s\nbut the table says\n%s", got, want)
		}
		sql = before + mark + want + ");\nCREATE UNIQUE INDEX" + after
	}
	if *update {
		if err := os.WriteFile(file, []byte(sql), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
