package aws

import (
	"context"
	"maps"
	"strings"
	"testing"

	"rotator/internal/secret"
	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// TestCheck: what cannot be rotated is refused with words that help; what is fine stays as it is.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		given func(awstest.Region)
		says  string // "": it is fine
	}{
		{"fine", func(r awstest.Region) { r.Put(path, doc(old, "1")) }, ""},
		{"rotated once by AWS, never again", func(r awstest.Region) {
			r.Put(path, doc(old, "1"))
			r.SetRotation(path, true)
			r.SetRotation(path, false)
		}, ""},
		{"a field to come", func(r awstest.Region) { r.Put(path, `{}`) }, ""},
		{"a field in another case", func(r awstest.Region) { r.Put(path, `{"`+strings.ToLower(target.Field)+`":"x"}`) }, "differs in case"},
		{"absent", func(awstest.Region) {}, ""},
		{"empty", func(r awstest.Region) { r.CreateEmpty(path) }, ""},
		{"rotated by AWS", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.SetRotation(path, true) }, "cancel-rotate-secret"},
		{"a rotation of AWS's halfway", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.PutLabel(path, doc(theirs, "1"), labelPending) }, "AWSPENDING"},
		{"doomed", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.Delete(path) }, "restore-secret"},
		{"a replica", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.SetReplicaOf(path, "us-east-1") }, "primary region"},
		{"the primary of replicas", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.SetReplicaOf(path, region) }, ""},
		{"another service's", func(r awstest.Region) { r.Put(path, doc(old, "1")); r.SetOwner(path, "rds") }, "another AWS service"},
		{"binary", func(r awstest.Region) { r.PutBinary(path, []byte("\xff")) }, "binary"},
		{"no JSON", func(r awstest.Region) { r.Put(path, old.Reveal()) }, "not a JSON object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := awstest.New()
			r, s := server.Region(region), open(t, server)
			tc.given(r)
			before := r.Labels(path)
			err := s.Check(t.Context(), target)
			if tc.says == "" {
				if err != nil {
					t.Error(err)
				}
			} else if is(t, err, stores.ErrInvalid); err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error %v does not say %q", err, tc.says)
			}
			if !maps.Equal(before, r.Labels(path)) {
				t.Errorf("the labels were %v and are %v", before, r.Labels(path))
			}
		})
	}
}

// TestCheckDenied: every right that a rotation of this target needs is missed before, by its name.
func TestCheckDenied(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage", "ListSecretVersionIds"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			server := awstest.New()
			r, s := server.Region(region), open(t, server)
			r.Put(path, doc(old, "1"))
			server.Deny(action)
			err := s.Check(t.Context(), target)
			if is(t, err, stores.ErrDenied); err != nil && !strings.Contains(err.Error(), "secretsmanager:"+action) {
				t.Errorf("the error %v does not name %s", err, action)
			}
			server.Heal()
			verifyEnd(t, server, s, doc(old, "1"))
		})
	}
}

// TestUnusable: a secret that cannot be used stays as it is, whichever way it is tried.
func TestUnusable(t *testing.T) {
	t.Parallel()
	whole := stores.Target{Path: path}
	for _, tc := range []struct {
		name   string
		given  func(*awstest.Server)
		target stores.Target
		want   error
	}{
		{"binary", func(s *awstest.Server) { s.Region(region).PutBinary(path, []byte("xai-\xff")) }, target, stores.ErrInvalid},
		{"binary, whole", func(s *awstest.Server) { s.Region(region).PutBinary(path, []byte("xai-\xff")) }, whole, stores.ErrInvalid},
		{"doomed", func(s *awstest.Server) { s.Region(region).Put(path, doc(old, "")); s.Region(region).Delete(path) }, target, stores.ErrInvalid},
		{"without its KMS key", func(s *awstest.Server) { s.Region(region).Put(path, doc(old, "")); s.DisableKMS() }, target, stores.ErrInvalid},
		{"denied", func(s *awstest.Server) { s.Region(region).Put(path, doc(old, "")); s.Deny("GetSecretValue") }, target, stores.ErrDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := awstest.New()
			s := open(t, server)
			tc.given(server)
			before := server.Region(region).Versions(path)
			_, err := s.Current(t.Context(), tc.target)
			is(t, err, tc.want)
			is(t, s.Stage(t.Context(), tc.target, attempt, value), tc.want)
			is(t, s.Promote(t.Context(), tc.target, attempt, value, ""), tc.want)
			if after := server.Region(region).Versions(path); len(after) != len(before) {
				t.Errorf("%d versions became %d", len(before), len(after))
			}
		})
	}
}

// TestReplica: in a replica's region AWS refuses writes, and so do we.
func TestReplica(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, doc(old, "1"))
	r.SetReplicaOf(path, "us-east-1")
	is(t, stage(t.Context(), s), stores.ErrInvalid)
	is(t, promote(t.Context(), s), stores.ErrInvalid)
	verifyEnd(t, server, s, doc(old, "1"))
}

// TestPrevious: from every version that AWS still keeps, and never a value that was only staged or is current.
func TestPrevious(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, doc(old, "1"))
	r.Put(path, "a time before JSON")
	r.PutBinary(path, []byte{1})
	for range 120 { // more than AWS keeps
		r.Put(path, doc(theirs, "1"))
	}
	previous := func(want secret.Text) error {
		got, err := s.Previous(t.Context(), target, want.Fingerprint())
		if err == nil && !got.Equal(want) {
			t.Errorf("Previous is %q", got.Reveal())
		}
		return err
	}
	is(t, previous(old), stores.ErrNotFound)
	for _, held := range []string{doc(old, "1"), "a time before JSON", doc(theirs, "1")} {
		r.Put(path, held)
	}
	r.PutBinary(path, []byte{1})
	r.Put(path, doc(theirs, "2"))
	if err := previous(old); err != nil {
		t.Error(err)
	}
	run(t, s, func(ctx context.Context, s *Store) error { return s.Stage(ctx, target, attempt, value) })
	is(t, previous(value), stores.ErrNotFound)
	is(t, previous(secret.Text{}), stores.ErrNotFound)
	r.Put(path, doc(value, "3"))
	is(t, previous(value), stores.ErrNotFound)
	server.Deny("ListSecretVersionIds")
	is(t, previous(old), stores.ErrDenied)
}
