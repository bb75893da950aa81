package aws

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// fields are so many targets in one secret.
func fields(n int) (all []stores.Target) {
	for i := range n {
		all = append(all, stores.Target{Path: path, Field: fmt.Sprintf("key-%d", i)})
	}
	return all
}

// TestQuotas: labels and versions that are there, and those that the configured targets need, are held against AWS's quotas.
func TestQuotas(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		given  func(r awstest.Region)
		fields int
		want   []string // parts of the warnings, one each
	}{
		{"room for all", func(r awstest.Region) { r.Put(path, "{}") }, 18, nil},
		{"no secret yet", func(awstest.Region) {}, 18, nil},
		{"no secret yet, for too many", func(awstest.Region) {}, 19, []string{"21 staging labels"}},
		{"too many labels", func(r awstest.Region) { r.Put(path, "{}") }, 19, []string{"AWSCURRENT and AWSPREVIOUS + 0 other labels + 19 for staged keys = 21 staging labels, and AWS takes 20"}},
		{"someone else's labels", func(r awstest.Region) {
			r.Put(path, "{}")
			for i := range 10 {
				r.PutLabel(path, fmt.Sprintf(`{"v":%d}`, i), fmt.Sprintf("release-%d", i))
			}
		}, 9, []string{"10 other labels + 9 for staged keys = 21"}},
		{"labels that are left over", func(r awstest.Region) {
			r.Put(path, "{}")
			for i := range 18 {
				r.PutLabel(path, fmt.Sprintf(`{"v":%d}`, i), fmt.Sprintf("rotator-%d", i))
			}
		}, 1, nil},
		{"too many young versions", func(r awstest.Region) {
			for i := range 90 {
				r.Put(path, fmt.Sprintf(`{"v":%d}`, i))
			}
		}, 6, []string{"90 versions that are labeled or younger than a day + 11 for one rotation of each = 101 versions, and AWS takes 100"}},
		{"one more key would be too many", func(r awstest.Region) {
			for i := range 99 {
				r.Put(path, fmt.Sprintf(`{"v":%d}`, i))
			}
		}, 1, nil},
		{"both", func(r awstest.Region) { r.Put(path, "{}") }, 60, []string{"staging labels", "120 versions"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := awstest.New()
			r, s := server.Region(region), open(t, server)
			tc.given(r)
			before := fmt.Sprint(r.Labels(path))
			got, err := s.Warnings(t.Context(), fields(tc.fields))
			if err != nil || len(got) != len(tc.want) {
				t.Fatalf("%+v, %v", got, err)
			}
			for i, want := range tc.want {
				if !strings.Contains(got[i].Text, want) || len(got[i].Targets) != tc.fields || got[i].Do == "" {
					t.Errorf("%+v, want %q", got[i], want)
				}
			}
			if after := fmt.Sprint(r.Labels(path)); after != before {
				t.Errorf("the labels were %s and are %s", before, after)
			}
		})
	}
}

// TestQuotasOfOneSecretWithTwoNames: a name and an ARN of one secret share its quotas; another secret has its own.
func TestQuotasOfOneSecretWithTwoNames(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, "{}")
	r.Put("other", "{}")
	all := fields(19)
	for i := range all {
		if i >= 10 {
			all[i].Path = r.ARN(path)
		}
	}
	got, err := s.Warnings(t.Context(), append(all, stores.Target{Path: "other", Field: "x"}))
	if err != nil || len(got) != 1 || len(got[0].Targets) != 19 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestQuotasUnknown: what may not be looked at is an error, and takes no other warning away.
func TestQuotasUnknown(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, "{}")
	server.Deny("ListSecretVersionIds")
	got, err := s.Warnings(t.Context(), append(fields(1), elsewhere(19)...))
	if is(t, err, stores.ErrDenied); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func elsewhere(n int) []stores.Target {
	all := fields(n)
	for i := range all {
		all[i].Path = "absent"
	}
	return all
}

// TestOldVersions: AWS makes room by itself where a version has no label and is older than a day.
func TestOldVersions(t *testing.T) {
	t.Parallel()
	old, young := aws.Time(time.Now().Add(-25*time.Hour)), aws.Time(time.Now().Add(-23*time.Hour))
	u := count(&secretsmanager.DescribeSecretOutput{}, []types.SecretVersionsListEntry{
		{CreatedDate: old}, {CreatedDate: old, VersionStages: []string{labelCurrent}}, {CreatedDate: young},
	})
	if u.held != 2 {
		t.Errorf("%d versions are held, want 2", u.held)
	}
}
