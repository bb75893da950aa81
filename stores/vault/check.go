package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"rotator/internal/jsonfield"
	"rotator/stores"
)

// right is what the store must be able to do at one API path.
type right struct {
	path         string
	capabilities []string
	why          string
}

const (
	whyTarget = `Consumers read this; the successor is written over it. "create" only while there is nothing yet.`
	whyStaged = "A successor waits here until it is proved, under the id of the attempt."
)

// probe stands for an attempt where rights are asked.
const probe = "check"

// Check implements stores.Checker. All missing rights are named at once, as capabilities on paths in the words of a Vault
// policy. The right to create the target is not needed where it is there already. Tokens with a single use cannot ask about
// their rights; then Check only reads the target.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	return s.about(s.check(ctx, t), "check", t)
}

func (s *Store) check(ctx context.Context, t stores.Target) error {
	p, e, err := s.find(ctx, t)
	if err != nil {
		return err
	}
	staged, err := s.stagedPath(p.path, probe)
	if err != nil {
		return err
	}
	needed := e.rights(p.path, staged)
	var missing []string
	granted, err := s.capabilities(ctx, needed)
	switch {
	case err == nil:
		missing = lacking(needed, granted)
	case !errors.Is(err, errSpent) || s.sessions.auth.Method == "token": // a fresh login was spent by asking: see call
		return err
	}
	create := fmt.Sprintf("%q on %s", "create", needed[0].path) // not yet known to be needed
	if others := slices.DeleteFunc(slices.Clone(missing), func(m string) bool { return m == create }); len(others) > 0 {
		return fmt.Errorf("%w: missing %s", stores.ErrDenied, strings.Join(missing, ", "))
	}
	held, err := e.read(ctx, p.path, 0)
	if err != nil {
		return settle(err)
	}
	if exists := held.doc != nil || held.version > 0; !exists && len(missing) > 0 {
		return fmt.Errorf("%w: missing %s, and there is nothing yet", stores.ErrDenied, create)
	}
	value, err := field(held, p)
	switch {
	case err != nil:
		return err
	case held.doc == nil:
		return s.elsewhere(ctx, e, p)
	case value.Empty():
		if hint := jsonfield.Hint(held.doc, p.field); hint != "" {
			return fmt.Errorf("%w: no field %q: %s", stores.ErrInvalid, p.field, hint)
		}
	}
	return nil
}

// elsewhere reports a secret at the path that is left without the mount and without data/ or metadata/, which paths of
// the API have and ours do not. No one would read what is rotated at the configured one. What may not be read gives no
// hint.
func (s *Store) elsewhere(ctx context.Context, e engine, p place) error {
	rest, prefixed := strings.CutPrefix(p.path, s.mount+"/")
	meant := []string{rest}
	if e.atomic() { // only KV 2 has data/
		for _, infix := range []string{"data/", "metadata/"} {
			if after, ok := strings.CutPrefix(rest, infix); ok {
				meant = append(meant, after)
			}
		}
	}
	if !prefixed {
		meant = meant[1:]
	}
	for _, path := range meant {
		held, err := e.read(ctx, path, 0)
		switch {
		case errors.Is(err, stores.ErrDenied), errors.Is(err, errRefused), errors.Is(err, stores.ErrInvalid):
		case err != nil:
			return err
		case held.doc != nil:
			return fmt.Errorf("%w: nothing is at %q, while %q exists: a path has neither the mount nor data/ in front",
				stores.ErrInvalid, p.path, path)
		}
	}
	return nil
}

// capabilities asks in one call what the token may do at the paths.
func (s *Store) capabilities(ctx context.Context, needed []right) (map[string][]string, error) {
	paths := make([]string, len(needed))
	for i, n := range needed {
		paths[i] = n.path
	}
	got, err := s.call(ctx, http.MethodPut, "sys/capabilities-self", nil, map[string]any{"paths": paths})
	if err != nil {
		return nil, settle(err)
	}
	var answers map[string]json.RawMessage
	if err := got.data(&answers); err != nil {
		return nil, err
	}
	granted := make(map[string][]string, len(paths)) // API path → capabilities
	for _, path := range paths {
		var held []string
		if answer, ok := answers[path]; !ok || json.Unmarshal(answer, &held) != nil {
			return nil, errUnreadable
		}
		granted[path] = held
	}
	return granted, nil
}

// lacking lists what is needed and not granted.
func lacking(needed []right, granted map[string][]string) []string {
	var missing []string
	for _, n := range needed {
		for _, capability := range n.capabilities {
			held := granted[n.path]
			if !slices.Contains(held, "root") && !slices.Contains(held, capability) {
				missing = append(missing, fmt.Sprintf("%q on %s", capability, n.path))
			}
		}
	}
	return missing
}
