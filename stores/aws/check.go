package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"rotator/internal/jsonfield"
	"rotator/internal/secret"
	"rotator/stores"
)

// labelCheck is asked for where nothing may be attached.
const labelCheck = labelPrefix + "check"

// Check implements stores.Checker. A secret that is absent is fine, since Stage creates it; whether it may is not
// known then. Of a secret with a value every right that a rotation needs is tried, without an effect.
func (s *Store) Check(ctx context.Context, t stores.Target) error {
	out, err := s.describe(ctx, t)
	if errors.Is(err, stores.ErrNotFound) && !strings.HasPrefix(t.Path, "arn:") {
		return nil
	}
	if errors.Is(err, stores.ErrNotFound) {
		return fmt.Errorf("check %s: %w: there is no such secret, and an ARN cannot be created", t.Path, stores.ErrInvalid)
	}
	if err != nil {
		return err
	}
	if obstacle := s.obstacle(out); obstacle != "" {
		return fmt.Errorf("check %s: %w: %s", t.Path, stores.ErrInvalid, obstacle)
	}
	d, err := s.current(ctx, t)
	if errors.Is(err, stores.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	value, err := d.value(t)
	if err != nil {
		return err
	}
	if hint := jsonfield.Hint([]byte(d.text.Reveal()), t.Field); value.Empty() && t.Field != "" && hint != "" {
		return fmt.Errorf("check %s: %w: no field %q: %s", t.Path, stores.ErrInvalid, t.Field, hint)
	}
	return s.checkRights(ctx, t, d)
}

// obstacle says why the secret cannot be rotated by us, and what would help.
func (s *Store) obstacle(d *secretsmanager.DescribeSecretOutput) string {
	primary, owner := aws.ToString(d.PrimaryRegion), aws.ToString(d.OwningService)
	switch {
	case d.DeletedDate != nil:
		return "it is scheduled for deletion (aws secretsmanager restore-secret takes that back)"
	case primary != "" && primary != s.region:
		return "it is a replica; name the store of its primary region instead"
	case owner != "":
		return "another AWS service manages it"
	case aws.ToBool(d.RotationEnabled):
		return "AWS rotates it too (aws secretsmanager cancel-rotate-secret ends that)"
	case bearers(d)[labelPending] != "":
		return "a rotation of AWS's left AWSPENDING on a version (aws secretsmanager update-secret-version-stage removes it)"
	}
	return ""
}

// checkRights tries the rights to put, to move labels and to list versions, and names all that are missing. AWS ignores a
// put of a version that exists with the same content, and removes no label that is not attached, yet asks for the rights
// first. Where an endpoint did attach the label, on a version that no one could tell from before, the second call takes it
// away.
func (s *Store) checkRights(ctx context.Context, t stores.Target, d document) error {
	_, put := s.put(ctx, t, d.version, d.text, labelCheck)
	move := s.move(ctx, t, labelCheck, d.version, "")
	if errors.Is(move, errMoved) {
		move = nil
	}
	_, list := s.client.ListSecretVersionIds(ctx, &secretsmanager.ListSecretVersionIdsInput{SecretId: &t.Path, MaxResults: aws.Int32(1)})
	return errors.Join(put, move, failed(ctx, t.Path, list))
}

// maxPages bounds the list of a secret's versions, 100 each. AWS keeps about 100, and all of the last 24 hours.
const maxPages = 10

// Previous implements stores.Previous: from AWSPREVIOUS, and else from the versions that AWS has not removed yet,
// the newest first.
func (s *Store) Previous(ctx context.Context, t stores.Target, want secret.Fingerprint) (secret.Text, error) {
	in := &secretsmanager.GetSecretValueInput{VersionStage: aws.String(labelPrevious)}
	if v, ok, err := s.former(ctx, t, want, in); ok || err != nil {
		return v, err
	}
	versions, err := s.versions(ctx, t)
	if err != nil {
		return secret.Text{}, err
	}
	for _, v := range versions {
		in := &secretsmanager.GetSecretValueInput{VersionId: v.VersionId}
		if v, ok, err := s.former(ctx, t, want, in); ok || err != nil {
			return v, err
		}
	}
	return secret.Text{}, fmt.Errorf("previous value of %s: %w", t.Path, stores.ErrNotFound)
}

// former reads one version and reports whether it holds the wanted value. One that is gone, or was of another shape,
// does not.
func (s *Store) former(ctx context.Context, t stores.Target, want secret.Fingerprint, in *secretsmanager.GetSecretValueInput) (secret.Text, bool, error) {
	d, err := s.read(ctx, t, in)
	v, err := found(t, d, err)
	if errors.As(err, new(*failure)) && !errors.Is(err, stores.ErrNotFound) {
		return secret.Text{}, false, err
	}
	return v, err == nil && want.Is(v), nil
}

// versions lists what can hold a former value, the newest first: not what is current or previous, nor what is staged.
func (s *Store) versions(ctx context.Context, t stores.Target) ([]types.SecretVersionsListEntry, error) {
	versions, err := s.allVersions(ctx, t)
	if err != nil {
		return nil, err
	}
	versions = slices.DeleteFunc(versions, func(v types.SecretVersionsListEntry) bool {
		return v.VersionId == nil || slices.ContainsFunc(v.VersionStages, func(l string) bool {
			return l == labelCurrent || l == labelPrevious || strings.HasPrefix(l, labelPrefix)
		})
	})
	slices.SortStableFunc(versions, func(a, b types.SecretVersionsListEntry) int {
		return cmp.Compare(aws.ToTime(b.CreatedDate).UnixNano(), aws.ToTime(a.CreatedDate).UnixNano())
	})
	return versions, nil
}

// allVersions lists the secret's versions, with labels and without, in no order.
func (s *Store) allVersions(ctx context.Context, t stores.Target) ([]types.SecretVersionsListEntry, error) {
	var versions []types.SecretVersionsListEntry
	pages := secretsmanager.NewListSecretVersionIdsPaginator(s.client, &secretsmanager.ListSecretVersionIdsInput{
		SecretId: &t.Path, IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(100),
	})
	for n := 0; n < maxPages && pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(ctx, t.Path, err)
		}
		if err := names("ListSecretVersionIds", t, page.ARN); err != nil {
			return nil, err
		}
		versions = append(versions, page.Versions...)
	}
	return versions, nil
}
