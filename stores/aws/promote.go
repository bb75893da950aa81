package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"rotator/internal/secret"
	"rotator/stores"
)

// Promote implements stores.Store. Where nothing is expected, a secret without a value gets its first, and one that is
// absent, although Stage created it, is created under the path as its name, with Options.KMSKeyID.
func (s *Store) Promote(ctx context.Context, t stores.Target, attempt string, value secret.Text, expected secret.Fingerprint) error {
	p := promotion{s: s, t: t, attempt: attempt, value: value, expected: expected}
	err := errMoved
	for try := 0; try < tries && errors.Is(err, errMoved); try++ {
		err = p.try(ctx)
	}
	if p.labeled {
		// Nothing was staged, so nothing stays so. Should this fail, the caller's own Discard finds the label.
		_ = s.Discard(ctx, t, attempt)
	}
	return err
}

// promotion is one call of Promote.
type promotion struct {
	s        *Store
	t        stores.Target
	attempt  string
	value    secret.Text
	expected secret.Fingerprint
	labeled  bool // the label is there because of this call alone
}

// try reads, decides, and writes on condition that what was read is still there. A crash anywhere in it leaves either a
// version that no consumer reads, which a second call finds by its id, or the whole promotion.
func (p *promotion) try(ctx context.Context) error {
	base, err := p.s.current(ctx, p.t)
	if errors.Is(err, stores.ErrNotFound) {
		return p.first(ctx)
	}
	if err != nil {
		return err
	}
	held, err := base.value(p.t)
	switch {
	case err != nil:
		return err
	case held.Equal(p.value):
		return nil
	case !p.expected.Is(held):
		return fmt.Errorf("promote in %s: %w", p.t.Path, stores.ErrConflict)
	}
	id := versionID(p.t, p.attempt, p.value, base.version)
	if err := p.ensure(ctx, id, base); err != nil {
		return err
	}
	return p.s.move(ctx, p.t, labelCurrent, base.version, id)
}

// ensure puts the version id, merged from base, unless Stage did.
func (p *promotion) ensure(ctx context.Context, id string, base document) error {
	l := label(p.t, p.attempt)
	bearer, err := p.s.labels(ctx, p.t)
	if err != nil || bearer[l] == id {
		return err
	}
	text, err := base.merge(p.t, p.value)
	if err != nil {
		return err
	}
	p.labeled = p.labeled || bearer[l] == ""
	_, err = p.s.put(ctx, p.t, id, text, l)
	return err
}

// first gives the secret its first version, or creates it. The put asks for our label only: AWS adds AWSCURRENT if the
// version is indeed the first, so that a value which someone else put meanwhile stays. Reading again shows it.
func (p *promotion) first(ctx context.Context) error {
	if p.expected != "" {
		return fmt.Errorf("promote in %s: %w: it holds nothing", p.t.Path, stores.ErrConflict)
	}
	text, err := document{}.merge(p.t, p.value)
	if err != nil {
		return err
	}
	id := versionID(p.t, p.attempt, p.value, "")
	_, err = p.s.put(ctx, p.t, id, text, label(p.t, p.attempt))
	if err == nil {
		p.labeled = true
		return fmt.Errorf("promote in %s: %w", p.t.Path, errMoved)
	}
	if !answered(err, codeNotFound) {
		return err
	}
	err = p.s.create(ctx, p.t, &secretsmanager.CreateSecretInput{ClientRequestToken: &id, SecretString: aws.String(text.Reveal())})
	if answered(err, codeExists) {
		return fmt.Errorf("promote in %s: %w", p.t.Path, errMoved)
	}
	return err
}

// create creates the secret, with the store's KMS key and tags.
func (s *Store) create(ctx context.Context, t stores.Target, in *secretsmanager.CreateSecretInput) error {
	in.Name, in.Tags = &t.Path, s.tags
	if s.kmsKeyID != "" {
		in.KmsKeyId = &s.kmsKeyID
	}
	out, err := s.client.CreateSecret(ctx, in, once)
	if err != nil {
		return failed(ctx, t.Path, err)
	}
	return names("CreateSecret", t, out.ARN)
}

// exist creates the secret without a value, unless it is there. A crash after it leaves an empty secret, which the next
// call finds.
func (s *Store) exist(ctx context.Context, t stores.Target) error {
	_, err := s.describe(ctx, t)
	if !errors.Is(err, stores.ErrNotFound) {
		return err
	}
	if strings.HasPrefix(t.Path, "arn:") {
		return fmt.Errorf("%s: %w: there is no such secret, and an ARN cannot be created", t.Path, stores.ErrInvalid)
	}
	if err = s.create(ctx, t, &secretsmanager.CreateSecretInput{}); answered(err, codeExists) {
		return nil
	}
	return err
}
