package sqldb

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"rotator/rotation/journal"
)

// checks writes the CHECK constraints of a rotation's row, as the state table has them.
func checks() string {
	quoted := func(keep func(journal.StateInfo) bool) string {
		var names []string
		for _, i := range journal.States {
			if keep(i) {
				names = append(names, "'"+string(i.State)+"'")
			}
		}
		return strings.Join(names, ", ")
	}
	lines := []string{fmt.Sprintf("CHECK (state IN (%s))", quoted(func(journal.StateInfo) bool { return true }))}
	for _, m := range []journal.Mark{journal.MarkKey, journal.MarkPromoting, journal.MarkLive, journal.MarkEnded} {
		there, absent := string(m)+" IS NOT NULL", string(m)+" IS NULL"
		if m == journal.MarkKey {
			there, absent = string(m)+" <> ''", string(m)+" = ''"
		}
		if s := quoted(func(i journal.StateInfo) bool { return slices.Contains(i.Needs, m) }); s != "" {
			lines = append(lines, fmt.Sprintf("CHECK (%s OR state NOT IN (%s))", there, s))
		}
		if s := quoted(func(i journal.StateInfo) bool { return slices.Contains(i.Never, m) }); s != "" {
			lines = append(lines, fmt.Sprintf("CHECK (%s OR state NOT IN (%s))", absent, s))
		}
	}
	return "  " + strings.Join(lines, ",\n  ") + "\n"
}

// TestChecksAreTheStateTable keeps the SQL and the table apart from each other in no letter.
func TestChecksAreTheStateTable(t *testing.T) {
	t.Parallel()
	sql, err := os.ReadFile("migrations/0001_journal.sql")
	if err != nil {
		t.Fatal(err)
	}
	const mark = "a test compares\n"
	_, rest, _ := strings.Cut(string(sql), mark)
	got, _, _ := strings.Cut(rest, ");\nCREATE UNIQUE INDEX rotations_in_flight")
	if want := checks(); got != want {
		t.Errorf("the constraints of rotations are\n%s\nbut the state table says\n%s", got, want)
	}
}
