package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"rotator/stores"
)

// The quotas of one secret, and how young a version without a label is that AWS does not remove to keep them:
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
const (
	maxVersions = 100
	maxLabels   = 20
	keptFor     = 24 * time.Hour
)

// Warnings implements stores.Warner: whether the quotas of a secret leave room for all of its targets at once. It needs no
// right beyond those of Check.
func (s *Store) Warnings(ctx context.Context, targets []stores.Target) (all []stores.Warning, err error) {
	var unknown []error
	var order []string
	secrets := map[string]*usage{} // by ARN, or by path where nothing is there yet
	for _, fields := range stores.Together(targets, stores.ByPath) {
		id, found, err := s.usage(ctx, fields[0])
		if err != nil {
			unknown = append(unknown, err)
			continue
		}
		if secrets[id] == nil {
			secrets[id] = found
			order = append(order, id)
		}
		secrets[id].targets = append(secrets[id].targets, fields...)
	}
	for _, id := range order {
		all = append(all, secrets[id].warnings()...)
	}
	return all, errors.Join(unknown...)
}

// usage is how much of its quotas a secret uses.
type usage struct {
	targets []stores.Target
	others  int // labels that are neither AWSCURRENT nor AWSPREVIOUS nor ours
	staged  int // labels of ours
	held    int // versions that AWS does not remove: labeled, or younger than keptFor
}

// usage reads a secret's usage. id is the same for two names of one secret. An absent secret uses nothing.
func (s *Store) usage(ctx context.Context, t stores.Target) (id string, u *usage, err error) {
	out, err := s.describe(ctx, t)
	if errors.Is(err, stores.ErrNotFound) {
		return t.Path, &usage{}, nil
	}
	if err != nil {
		return "", nil, err
	}
	versions, err := s.allVersions(ctx, t)
	if err != nil {
		return "", nil, err
	}
	return aws.ToString(out.ARN), count(out, versions), nil
}

func count(out *secretsmanager.DescribeSecretOutput, versions []types.SecretVersionsListEntry) *usage {
	u := &usage{}
	for l := range bearers(out) {
		switch {
		case strings.HasPrefix(l, labelPrefix):
			u.staged++
		case l != labelCurrent && l != labelPrevious:
			u.others++
		}
	}
	for _, v := range versions {
		if len(v.VersionStages) > 0 || time.Since(aws.ToTime(v.CreatedDate)) < keptFor {
			u.held++
		}
	}
	return u
}

// warnings compares the quotas with what is needed when the keys of all targets are replaced at once, as with one schedule.
// Each successor is staged as a version with a label. All but the first are merged and put again when they are promoted,
// because the secret has changed since.
func (u *usage) warnings() (all []stores.Warning) {
	n := len(stores.Together(u.targets, func(t stores.Target) string { return t.Field }))
	const do = "Give the keys secrets of their own, or schedules that are days apart."
	if staged := max(n, u.staged); 2+u.others+staged > maxLabels {
		all = append(all, stores.Warning{Targets: u.targets, Do: do, Text: fmt.Sprintf(
			"%d keys in one secret: AWSCURRENT and AWSPREVIOUS + %d other labels + %d for staged keys = %d staging labels, and AWS takes %d",
			n, u.others, staged, 2+u.others+staged, maxLabels)})
	}
	if put := 2*n - 1; u.held+put > maxVersions {
		all = append(all, stores.Warning{Targets: u.targets, Do: do, Text: fmt.Sprintf(
			"%d keys in one secret: %d versions that are labeled or younger than a day + %d for one rotation of each = %d versions, and AWS takes %d",
			n, u.held, put, u.held+put, maxVersions)})
	}
	return all
}
