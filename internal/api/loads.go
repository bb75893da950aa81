package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"rotator/rotation/journal"
)

// Loading is how a process last read its files.
type Loading struct {
	At        time.Time // zero: it did not yet
	Succeeded time.Time // when it last found no problem; zero: never
	Policies  int       // in force
	Problems  int       // 0: all that the files say is in force
	Error     string    // the first problems, one a line
}

// LoadRow is what replicas last read from their files.
type LoadRow struct {
	Replicas []string   `json:"replicas"` // that read the same, by name
	At       *time.Time `json:"at"`       // when the first of them did
	OK       bool       `json:"ok"`       // all that the files say is in force
	Policies int        `json:"policies"` // in force
	Problems int        `json:"problems"`
	Errors   []string   `json:"errors"` // the first problems
}

func (c *Server) getLoads(r *http.Request) (any, error) {
	all, err := c.o.Journal.Loads(r.Context())
	if err != nil {
		return nil, err
	}
	return loadRows(all), nil
}

// Loads says what replicas last read from their files: one row where all read the same.
func (c *Client) Loads(ctx context.Context) (rows []LoadRow, err error) {
	return rows, c.get(ctx, &rows, "/v1/loads", nil)
}

func loadRows(all []journal.Load) []LoadRow {
	rows := []LoadRow{}
	at := make(map[string]int) // what was read → its row
	for _, l := range all {
		same := fmt.Sprint(l.Policies, l.Problems, l.Error)
		i, ok := at[same]
		if !ok {
			i, at[same] = len(rows), len(rows)
			rows = append(rows, LoadRow{At: instant(l.At), OK: l.OK(), Policies: l.Policies, Problems: l.Problems, Errors: []string{}})
			if l.Error != "" {
				rows[i].Errors = strings.Split(l.Error, "\n")
			}
		}
		rows[i].Replicas = append(rows[i].Replicas, l.Replica)
		if first := instant(l.At); first != nil && first.Before(*rows[i].At) {
			rows[i].At = first
		}
	}
	return rows
}

// Line says in one line how files were read. Where replicas read different things, it names the row's.
func (l LoadRow) Line(now time.Time, several bool) string {
	line := "configuration: "
	if l.At != nil {
		line += "read " + since(now, *l.At) + ", "
	}
	line += count(l.Policies, "policy", "policies") + " in force"
	if !l.OK {
		line += ", " + count(l.Problems, "problem", "problems")
	}
	if several {
		line += " (replica " + strings.Join(l.Replicas, ", ") + ")"
	}
	return line
}

// count says how many there are of something.
func count(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + many
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// configuration says what is not as it should be with what this process read, one thing a line: it stops nothing, and people
// should know.
func (c *Server) configuration() (words []string) {
	if c.o.Loaded != nil {
		l := c.o.Loaded()
		if l.Problems > 0 {
			first, _, _ := strings.Cut(l.Error, "\n")
			words = append(words, fmt.Sprintf("configuration: %s; what they name stays as it was: %s", count(l.Problems, "problem", "problems"), first))
		}
		if l.Policies == 0 && !l.At.IsZero() {
			words = append(words, "configuration: no policies")
		}
	}
	if s := c.seen.recent(); s != nil {
		removed := 0
		for _, p := range s.policies {
			if !p.Policy.RemovedAt.IsZero() {
				removed++
			}
		}
		if removed > 0 {
			words = append(words, fmt.Sprintf("configuration: %s in no file any more", count(removed, "policy is", "policies are")))
		}
	}
	return words
}
