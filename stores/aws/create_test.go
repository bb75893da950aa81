package aws

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// TestStageCreates: the secret is created empty when a rotation can still be given up, and not only when it is promoted.
func TestStageCreates(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	for range 2 { // the second finds it
		is(t, s.Stage(t.Context(), target, attempt, value), stores.ErrNoStaging)
		if r.ARN(path) == "" || len(r.Versions(path)) != 0 {
			t.Fatalf("the secret has the ARN %q and the versions %v, want an empty one", r.ARN(path), r.Versions(path))
		}
	}
	if key := r.KMSKey(path); key != "alias/rotator" {
		t.Errorf("the KMS key is %q", key)
	}
	_, err := s.Current(t.Context(), target)
	is(t, err, stores.ErrNotFound)
	if err := errors.Join(s.Check(t.Context(), target), s.Promote(t.Context(), target, attempt, value, "")); err != nil {
		t.Error(err)
	}
	verifyEnd(t, server, s, alone(value))
}

// TestStageMayNotCreate: a missing right shows before anything is promoted.
func TestStageMayNotCreate(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	s := open(t, server)
	server.Deny("CreateSecret")
	err := s.Stage(t.Context(), target, attempt, value)
	if is(t, err, stores.ErrDenied); err != nil && !strings.Contains(err.Error(), "secretsmanager:CreateSecret") {
		t.Errorf("the error %v does not name the right", err)
	}
}

// TestStageCreatesNoARN: an ARN that is not there cannot become a secret.
func TestStageCreatesNoARN(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	s := open(t, server)
	absent := stores.Target{Path: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nowhere-AbCdEf"}
	is(t, s.Stage(t.Context(), absent, attempt, value), stores.ErrInvalid)
	for _, c := range server.Calls() {
		if c.Action == "CreateSecret" {
			t.Error("a secret was created")
		}
	}
	empty := "there"
	server.Region(region).CreateEmpty(empty)
	is(t, s.Stage(t.Context(), stores.Target{Path: server.Region(region).ARN(empty)}, attempt, value), stores.ErrNoStaging)
}

// TestTags: what is created carries the tags that a policy of the account may want at that moment.
func TestTags(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r := server.Region(region)
	o := Options{KMSKeyID: "alias/rotator", Tags: []Tag{{"Owner", "team a"}, {"cost:center", ""}}}
	want := map[string]string{"Owner": "team a", "cost:center": ""}
	s := openWith(t, server, o)
	whole := stores.Target{Path: "promoted"}
	is(t, s.Stage(t.Context(), target, attempt, value), stores.ErrNoStaging)
	if err := s.Promote(t.Context(), whole, attempt, value, ""); err != nil {
		t.Error(err)
	}
	for _, name := range []string{path, whole.Path} {
		if got := r.Tags(name); !maps.Equal(got, want) {
			t.Errorf("the tags of %s are %v, want %v", name, got, want)
		}
	}
	r.Put("theirs", "x") // what others created keeps its own
	is(t, s.Stage(t.Context(), stores.Target{Path: "theirs", Field: "f"}, attempt, value), stores.ErrInvalid)
	if got := r.Tags("theirs"); len(got) != 0 {
		t.Errorf("a secret of others got the tags %v", got)
	}
}

// TestPermissionToTag: AWS wants the right to tag for a create with tags, and nothing else needs it.
func TestPermissionToTag(t *testing.T) {
	t.Parallel()
	for _, tagged := range []bool{false, true} {
		o := Options{Region: region}
		if tagged {
			o.Tags = []Tag{{"Owner", "a"}}
		}
		all := strings.Join(documents(t, o, target), "")
		if strings.Contains(all, "secretsmanager:TagResource") != tagged {
			t.Errorf("tags %t: the policy is %s", tagged, all)
		}
	}
}
