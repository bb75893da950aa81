package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/uuid"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

var (
	_ stores.Store    = (*Store)(nil)
	_ stores.Checker  = (*Store)(nil)
	_ stores.Previous = (*Store)(nil)
	_ stores.Fencer   = (*Store)(nil)
	_ stores.Placer   = (*Store)(nil)
	_ stores.Warner   = (*Store)(nil)
)

const (
	labelCurrent  = "AWSCURRENT"
	labelPrevious = "AWSPREVIOUS"
	labelPending  = "AWSPENDING" // AWS's own rotation's; never ours
	labelPrefix   = "rotator-"
)

// tries bounds how often one call of Promote or Discard begins again because someone else wrote. Beyond it the caller
// is told that the outcome is not known, and comes back later.
const tries = 5

// label is where the attempt's value is staged for t.
func label(t stores.Target, attempt string) string {
	l := labelPrefix + attempt
	if t.Field != "" {
		sum := sha256.Sum256([]byte(t.Field))
		l += "-" + hex.EncodeToString(sum[:4])
	}
	return l
}

// versionID names the version that holds value, put for attempt, merged from the version base. What goes into it
// determines the content, so that a second put under the same id is always the same put.
func versionID(t stores.Target, attempt string, value secret.Text, base string) string {
	name := strings.Join([]string{"rotator", attempt, t.Field, string(value.Fingerprint()), base}, "\x00")
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()
}

// document is the content of one version.
type document struct {
	version string
	text    secret.Text
}

// current reads what consumers read. ErrNotFound: no such secret, or one without a value.
func (s *Store) current(ctx context.Context, t stores.Target) (document, error) {
	return s.read(ctx, t, &secretsmanager.GetSecretValueInput{VersionStage: aws.String(labelCurrent)})
}

func (s *Store) read(ctx context.Context, t stores.Target, in *secretsmanager.GetSecretValueInput) (document, error) {
	in.SecretId = &t.Path
	out, err := s.client.GetSecretValue(ctx, in)
	switch {
	case err != nil:
		return document{}, failed(ctx, t.Path, err)
	case aws.ToString(out.VersionId) == "":
		return document{}, fmt.Errorf("secretsmanager:GetSecretValue at %s: an answer without a version", t.Path)
	case out.SecretString == nil:
		return document{}, fmt.Errorf("read %s: %w: its value is binary", t.Path, stores.ErrInvalid)
	}
	return document{*out.VersionId, secret.New(*out.SecretString)}, nil
}

// value returns what d holds for t, empty when there is nothing. ErrInvalid: d has no place for the field.
func (d document) value(t stores.Target) (secret.Text, error) {
	if t.Field == "" {
		return d.text, nil
	}
	v, err := jsonfield.Get([]byte(d.text.Reveal()), t.Field)
	if err != nil && !errors.Is(err, jsonfield.ErrNotFound) {
		return secret.Text{}, fmt.Errorf("field %q of %s: %w: %w", t.Field, t.Path, stores.ErrInvalid, err)
	}
	return secret.New(v), nil
}

// merge returns d's text with the value in its place and all else kept.
func (d document) merge(t stores.Target, value secret.Text) (secret.Text, error) {
	if t.Field == "" {
		return value, nil
	}
	doc, err := jsonfield.Set([]byte(d.text.Reveal()), t.Field, value.Reveal())
	if err != nil {
		return secret.Text{}, fmt.Errorf("field %q of %s: %w: %w", t.Field, t.Path, stores.ErrInvalid, err)
	}
	return secret.New(string(doc)), nil
}

// put adds a version under a label and returns the labels that the version now has. When the version is there already
// AWS ignores the put and its label.
func (s *Store) put(ctx context.Context, t stores.Target, id string, text secret.Text, label string) ([]string, error) {
	out, err := s.client.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: &t.Path, ClientRequestToken: &id, SecretString: aws.String(text.Reveal()), VersionStages: []string{label},
	}, once)
	if err != nil {
		return nil, failed(ctx, t.Path, err)
	}
	return out.VersionStages, names("PutSecretValue", t, out.ARN)
}

// describe returns what AWS says about the secret itself.
func (s *Store) describe(ctx context.Context, t stores.Target) (*secretsmanager.DescribeSecretOutput, error) {
	out, err := s.client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &t.Path})
	if err != nil {
		return nil, failed(ctx, t.Path, err)
	}
	return out, names("DescribeSecret", t, out.ARN)
}

// names refuses a success that does not name the secret, as all of AWS's do: it would tell of no labels, or of a write
// that was none.
func names(action string, t stores.Target, arn *string) error {
	if aws.ToString(arn) == "" {
		return fmt.Errorf("secretsmanager:%s at %s: an answer that names no secret", action, t.Path)
	}
	return nil
}

// labels returns which version has each label: label → version.
func (s *Store) labels(ctx context.Context, t stores.Target) (map[string]string, error) {
	out, err := s.describe(ctx, t)
	if err != nil {
		return nil, err
	}
	return bearers(out), nil
}

func bearers(out *secretsmanager.DescribeSecretOutput) map[string]string {
	labels := map[string]string{}
	for version, stages := range out.VersionIdsToStages {
		for _, l := range stages {
			labels[l] = version
		}
	}
	return labels
}

// errMoved means that someone wrote between our read and our write, and that we wrote nothing.
var errMoved = errors.New("the secret keeps changing")

// move takes a label from a version and gives it to another; "" is no version. When the label does not sit on from, AWS
// changes nothing: errMoved.
func (s *Store) move(ctx context.Context, t stores.Target, label, from, to string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &t.Path, VersionStage: &label}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	if to != "" {
		in.MoveToVersionId = &to
	}
	out, err := s.client.UpdateSecretVersionStage(ctx, in, once)
	if err == nil {
		return names("UpdateSecretVersionStage", t, out.ARN)
	}
	if err = failed(ctx, t.Path, err); answered(err, codeMismatch) {
		return fmt.Errorf("move a label in %s: %w", t.Path, errMoved)
	}
	return err
}

// Current implements stores.Store.
func (s *Store) Current(ctx context.Context, t stores.Target) (secret.Text, error) {
	d, err := s.current(ctx, t)
	return found(t, d, err)
}

// Staged implements stores.Store.
func (s *Store) Staged(ctx context.Context, t stores.Target, attempt string) (secret.Text, error) {
	d, err := s.read(ctx, t, &secretsmanager.GetSecretValueInput{VersionStage: aws.String(label(t, attempt))})
	return found(t, d, err)
}

// found returns what a read brought, ErrNotFound when that holds nothing for t.
func found(t stores.Target, d document, err error) (secret.Text, error) {
	if err != nil {
		return secret.Text{}, err
	}
	v, err := d.value(t)
	if err == nil && v.Empty() {
		err = fmt.Errorf("field %q of %s: %w", t.Field, t.Path, stores.ErrNotFound)
	}
	return v, err
}

// Stage implements stores.Store. A secret without a value cannot stage: AWS would make the staged version current. One
// that is absent is created without a value first, so that a missing right shows before anything is promoted; Discard
// leaves it, since the right to delete secrets is not asked for.
func (s *Store) Stage(ctx context.Context, t stores.Target, attempt string, value secret.Text) error {
	base, err := s.current(ctx, t)
	if errors.Is(err, stores.ErrNotFound) {
		if err := s.exist(ctx, t); err != nil {
			return fmt.Errorf("stage in %s: %w", t.Path, err)
		}
		return fmt.Errorf("stage in %s: %w: its first value would be read at once", t.Path, stores.ErrNoStaging)
	}
	if err != nil {
		return err
	}
	text, err := base.merge(t, value)
	if err != nil {
		return err
	}
	id, l := versionID(t, attempt, value, base.version), label(t, attempt)
	attached, err := s.put(ctx, t, id, text, l)
	if err != nil || slices.Contains(attached, l) {
		return err
	}
	// The version was put before and has lost its label since, by Discard.
	bearer, err := s.labels(ctx, t)
	if err != nil {
		return err
	}
	return s.move(ctx, t, l, bearer[l], id)
}

// Discard implements stores.Store. The version itself stays until AWS removes it.
func (s *Store) Discard(ctx context.Context, t stores.Target, attempt string) error {
	l := label(t, attempt)
	for range tries {
		bearer, err := s.labels(ctx, t)
		if errors.Is(err, stores.ErrNotFound) || err == nil && bearer[l] == "" {
			return nil
		}
		if err != nil {
			return err
		}
		if err = s.move(ctx, t, l, bearer[l], ""); !errors.Is(err, errMoved) {
			return err
		}
	}
	return fmt.Errorf("discard in %s: %w", t.Path, errMoved)
}
