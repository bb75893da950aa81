package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"rotator/rotation/journal"
)

// KnownKeyRow is a key that the journal knows, and what reads it as far as is known.
type KnownKeyRow struct {
	KeyID   string   `json:"key_id"`
	Policy  string   `json:"policy"`
	Team    string   `json:"team"`
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Readers []string `json:"readers"` // targets of any policy that hold it, or may: store:path#field
}

// Says says in a sentence which key it is, and what reads it.
func (k KnownKeyRow) Says() string {
	what := fmt.Sprintf("key %s is the %s key of %s", k.KeyID, k.State, k.Policy)
	if len(k.Readers) == 0 {
		return what + ", and no target is known to hold it"
	}
	return fmt.Sprintf("%s, and is read from %s", what, listed(k.Readers))
}

// listed is a list in a sentence.
func listed(names []string) string {
	const most = 5
	text := ""
	for i, n := range names[:min(len(names), most)] {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (c *Server) getKey(r *http.Request) (any, error) {
	k, err := c.knownKey(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	row := KnownKeyRow{KeyID: k.ID, Policy: k.Policy, Team: k.Team, Name: k.Name, State: string(k.State), Readers: []string{}}
	seen, err := c.o.Journal.SightingsOf(r.Context(), k.ID, k.Fingerprint)
	if err != nil {
		return nil, err
	}
	for _, s := range seen {
		if name := s.TargetID.String(); !slices.Contains(row.Readers, name) {
			row.Readers = append(row.Readers, name)
		}
	}
	slices.Sort(row.Readers)
	return row, nil
}

// knownKey is a key of the journal by its id.
func (c *Server) knownKey(ctx context.Context, id string) (journal.Key, error) {
	if !keyID.MatchString(id) {
		return journal.Key{}, usage("not a valid key ID")
	}
	if err := checkNames(id); err != nil {
		return journal.Key{}, err
	}
	k, err := c.o.Journal.Key(ctx, id)
	if errors.Is(err, journal.ErrNotFound) {
		return k, &Error{Message: fmt.Sprintf("no key %s in the journal; `rotator keys` lists the keys of each team", id), Code: ExitUsage, status: http.StatusNotFound}
	}
	return k, err
}
