package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"rotator/internal/secret"
	"rotator/stores"
)

// keyLength is the length of an API key of xAI in bytes.
const keyLength = 84

// rehearsal is an attempt's id that is never used otherwise.
const rehearsal = "00000000-0000-0000-0000-000000000000"

// standIn has the length and the beginning of a key, and is none.
func standIn(length int) []byte {
	const begin = "xai-"
	return []byte((begin + strings.Repeat("0", max(0, length-len(begin))))[:length])
}

// rehearse sends what a rotation would write as a dry run, with a stand-in for the key. Webhooks, policies, quotas and the
// limit of a Secret's size are met before a key is created.
func (s *Store) rehearse(ctx context.Context, p place) error {
	if err := s.rehearseTarget(ctx, p, keyLength); err != nil {
		return fmt.Errorf("rehearse the promotion: %w", err)
	}
	value := standIn(keyLength)
	data := map[string]any{stagedKey(rehearsal): value}
	for age := 1; age <= kept; age++ {
		data[previousKey(age, p.field)] = value
	}
	if err := s.try(ctx, p.beside(), func(object) patch { return patch{data: data} }); err != nil {
		return fmt.Errorf("rehearse staging in %s: %w", p.beside().name, err)
	}
	return nil
}

// rehearseTarget rehearses the promotion of a key of this length, in bytes.
func (s *Store) rehearseTarget(ctx context.Context, p place, length int) error {
	value := standIn(length)
	told := note{secret.New(string(value)).Fingerprint(), rehearsal}
	return s.try(ctx, p.target(), func(held object) patch {
		return patch{data: map[string]any{p.field: value}, annotations: held.noted(p.field, told)}
	})
}

// try sends a change of a Secret as a dry run. A missing Secret would be created empty and then changed; as a dry run
// leaves nothing to change, both are sent as creations. A webhook without support for dry runs, which is a 400, is skipped.
func (s *Store) try(ctx context.Context, r ref, wanted func(held object) patch) error {
	err := errMoved
	for n := 0; n < tries && (errors.Is(err, errMoved) || errors.Is(err, stores.ErrNotFound)); n++ { // or it went meanwhile
		var held object
		if held, err = s.read(ctx, r); err != nil {
			return err
		}
		if held.exists() {
			if err = held.writable(); err == nil {
				_, err = s.patch(ctx, r, held, wanted(held), dryRun)
			}
		} else if _, err = s.ensure(ctx, r, dryRun); err == nil {
			_, err = s.apply(ctx, r, wanted(held), dryRun)
		}
	}
	if unasked(err) {
		return nil
	}
	return err
}

// unasked reports whether an admission webhook does not support dry runs:
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#side-effects
func unasked(err error) bool {
	var said refusal
	return errors.As(err, &said) && said.status == http.StatusBadRequest && strings.Contains(said.message, "dry run")
}
