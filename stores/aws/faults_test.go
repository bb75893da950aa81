package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"rotator/internal/secret"
	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

const path = "prod/grok"

var (
	target  = stores.Target{Path: path, Field: "XAI_API_KEY"}
	old     = secret.New("xai-old-" + strings.Repeat("o", 76))
	value   = secret.New("xai-new-" + strings.Repeat("n", 76))
	theirs  = secret.New("xai-theirs-" + strings.Repeat("t", 73))
	attempt = "0199e9d5-0000-7000-8000-000000000001"
)

// doc is a secret of two fields, ours and one more.
func doc(ours secret.Text, other string) string {
	return fmt.Sprintf(`{"XAI_API_KEY":%q, "other":%q}`, ours.Reveal(), other)
}

func alone(ours secret.Text) string { return fmt.Sprintf(`{"XAI_API_KEY":%q}`, ours.Reveal()) }

func promote(ctx context.Context, s *Store) error {
	return s.Promote(ctx, target, attempt, value, old.Fingerprint())
}

func fill(ctx context.Context, s *Store) error { return s.Promote(ctx, target, attempt, value, "") }

func stage(ctx context.Context, s *Store) error { return s.Stage(ctx, target, attempt, value) }

func discard(ctx context.Context, s *Store) error { return s.Discard(ctx, target, attempt) }

func check(ctx context.Context, s *Store) error { return s.Check(ctx, target) }

type op = func(context.Context, *Store) error

// TestRepeatedAfterEveryFault breaks every call that an operation makes, one at a time, before its effect and after it,
// and repeats the operation until it succeeds. It must end as if nothing had happened, and what consumers read on the
// way is what was there or what shall be.
func TestRepeatedAfterEveryFault(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		seed   string // "": the secret is absent
		before []op
		human  string // written after before
		op     op
		ends   string // what consumers read at the end
	}{
		{"stage", doc(old, "1"), nil, "", stage, doc(old, "1")},
		{"stage again after discard", doc(old, "1"), []op{stage, discard}, "", stage, doc(old, "1")},
		{"promote what is staged", doc(old, "1"), []op{stage}, "", promote, doc(value, "1")},
		{"promote what is staged on another base", doc(old, "1"), []op{stage}, doc(old, "2"), promote, doc(value, "2")},
		{"promote without stage", doc(old, "1"), nil, "", promote, doc(value, "1")},
		{"promote after discard", doc(old, "1"), []op{stage, discard}, "", promote, doc(value, "1")},
		{"promote into an absent secret", "", nil, "", fill, alone(value)},
		{"promote into an empty secret", "empty", nil, "", fill, alone(value)},
		{"discard before promote", doc(old, "1"), []op{stage}, "", discard, doc(old, "1")},
		{"discard after promote", doc(old, "1"), []op{stage, promote}, "", discard, doc(value, "1")},
		{"check", doc(old, "1"), nil, "", check, doc(old, "1")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range []awstest.Fault{{}, {After: true}, {Code: "InternalServiceError"}, {After: true, Code: "ThrottlingException"}} {
				for struck := true; struck; fault.Skip++ {
					synctest.Test(t, func(t *testing.T) { // reads wait before they are sent again
						server := awstest.New()
						r, s := server.Region(region), open(t, server)
						switch tc.seed {
						case "":
						case "empty":
							r.CreateEmpty(path)
						default:
							r.Put(path, tc.seed)
						}
						run(t, s, tc.before...)
						if tc.human != "" {
							r.Put(path, tc.human)
						}
						begin, _ := r.Value(path, labelCurrent)
						earlier := len(server.Calls())
						server.Inject(fault)
						repeat(t, s, tc.op, func() {
							if now, _ := r.Value(path, labelCurrent); now != begin && now != tc.ends {
								t.Errorf("%+v: consumers read %q", fault, now)
							}
						})
						struck = len(server.Calls())-earlier > fault.Skip
						verifyEnd(t, server, s, tc.ends)
					})
				}
				if fault.Skip < 2 {
					t.Errorf("%+v struck no call", fault)
				}
			}
		})
	}
}

// run runs operations that must succeed.
func run(t *testing.T, s *Store, ops ...op) {
	t.Helper()
	for _, f := range ops {
		if err := f(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// repeat runs f until it succeeds. On the way it may only say that the outcome is not known.
func repeat(t *testing.T, s *Store, f op, watch func()) {
	t.Helper()
	for range 3 {
		err := f(t.Context(), s)
		watch()
		if err == nil {
			return
		}
		is(t, err, nil)
	}
	t.Error("it does not succeed")
}

// verifyEnd checks what consumers read, and that a discard leaves nothing.
func verifyEnd(t *testing.T, server *awstest.Server, s *Store, ends string) {
	t.Helper()
	r := server.Region(region)
	if now, _ := r.Value(path, labelCurrent); now != ends {
		t.Errorf("at the end consumers read %q, want %q", now, ends)
	}
	run(t, s, discard)
	if left := leftovers(r, path); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, c := range server.Calls() {
		if slices.Contains(c.Labels, labelPending) {
			t.Errorf("%s asked for %s", c.Action, labelPending)
		}
	}
}

// is checks that err means want and nothing else of the contract; nil stands for "not known". No value may be in it.
func is(t *testing.T, err, want error) {
	t.Helper()
	for _, meaning := range []error{stores.ErrNotFound, stores.ErrConflict, stores.ErrNoStaging, stores.ErrDenied, stores.ErrInvalid} {
		if errors.Is(err, meaning) != errors.Is(want, meaning) {
			t.Errorf("the error is %v, want %v", err, want)
			break
		}
	}
	if err == nil || strings.Contains(err.Error(), "xai-") || strings.Contains(err.Error(), "xxxx") || strings.Contains(err.Error(), "not authorized") {
		t.Errorf("the error is %v", err)
	}
}

// TestInterposed has someone else write at the worst moments of a promote.
func TestInterposed(t *testing.T) {
	t.Parallel()
	other := "0199e9d5-0000-7000-8000-000000000002"
	first := func(r awstest.Region) string { return r.Versions(path)[0] }
	for _, tc := range []struct {
		name   string
		seed   string // "": the secret is empty
		before []op
		at     string // the action before which human writes, once
		human  func(context.Context, awstest.Region, *Store) error
		op     op
		want   error
		ends   string
	}{
		{"the same promote", doc(old, "1"), []op{stage}, "UpdateSecretVersionStage",
			func(ctx context.Context, _ awstest.Region, s *Store) error { return promote(ctx, s) }, promote, nil, doc(value, "1")},
		{"the same promote without stage", doc(old, "1"), nil, "PutSecretValue",
			func(ctx context.Context, _ awstest.Region, s *Store) error { return promote(ctx, s) }, promote, nil, doc(value, "1")},
		{"the promote of another", doc(old, "1"), []op{stage}, "UpdateSecretVersionStage",
			func(ctx context.Context, _ awstest.Region, s *Store) error {
				return errors.Join(s.Promote(ctx, target, other, theirs, old.Fingerprint()), s.Discard(ctx, target, other))
			}, promote, stores.ErrConflict, doc(theirs, "1")},
		{"the same document again", doc(old, "1"), []op{stage}, "UpdateSecretVersionStage",
			func(_ context.Context, r awstest.Region, _ *Store) error { r.Put(path, doc(old, "1")); return nil }, promote, nil, doc(value, "1")},
		{"a label moved by hand", doc(old, "2"), []op{func(context.Context, *Store) error { return nil }}, "DescribeSecret",
			func(_ context.Context, r awstest.Region, _ *Store) error {
				r.PutLabel(path, doc(old, "3"), "hand")
				r.Move(path, labelCurrent, r.Labels(path)["hand"])
				r.Move(path, "hand", "")
				return nil
			}, promote, nil, doc(value, "3")},
		{"there and back", doc(old, "1"), []op{stage}, "DescribeSecret",
			func(_ context.Context, r awstest.Region, _ *Store) error {
				r.Put(path, doc(theirs, "9"))
				r.Move(path, labelCurrent, first(r))
				return nil
			}, promote, nil, doc(value, "1")},
		{"the first version", "", nil, "PutSecretValue",
			func(_ context.Context, r awstest.Region, _ *Store) error { r.Put(path, doc(theirs, "1")); return nil }, fill, stores.ErrConflict, doc(theirs, "1")},
		{"the first version, without our field", "", nil, "PutSecretValue",
			func(_ context.Context, r awstest.Region, _ *Store) error { r.Put(path, `{"other":"1"}`); return nil }, fill, nil,
			fmt.Sprintf(`{"other":"1","XAI_API_KEY":%q}`, value.Reveal())},
		{"a staged version reaped after discard", doc(old, "1"), []op{stage, discard}, "PutSecretValue",
			func(_ context.Context, r awstest.Region, _ *Store) error { r.Reap(path); return nil }, promote, nil, doc(value, "1")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := awstest.New()
			r, s := server.Region(region), open(t, server)
			if tc.seed == "" {
				r.CreateEmpty(path)
			} else {
				r.Put(path, tc.seed)
			}
			run(t, s, tc.before...)
			staged, written := len(leftovers(r, path)), false
			server.OnCall(func(c awstest.Call) {
				if c.Action == tc.at && !written {
					written = true
					if err := tc.human(t.Context(), r, s); err != nil {
						t.Error(err)
					}
				}
			})
			err := tc.op(t.Context(), s)
			if !written {
				t.Fatal("nobody wrote in between")
			}
			if left := leftovers(r, path); len(left) > staged {
				t.Errorf("left behind: %q", left)
			}
			if tc.want == nil && err != nil {
				t.Error(err)
			} else if tc.want != nil {
				is(t, err, tc.want)
			}
			verifyEnd(t, server, s, tc.ends)
		})
	}
}

// TestStagedOutlivesPromote: until it is discarded, what was staged can be had from there, also when a promote merged
// it again; what was not staged does not stay so.
func TestStagedOutlivesPromote(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, doc(old, "1"))
	run(t, s, stage)
	r.Put(path, doc(old, "2"))
	run(t, s, promote)
	if staged, err := s.Staged(t.Context(), target, attempt); err != nil || !staged.Equal(value) {
		t.Errorf("Staged after promote: %v", err)
	}
	run(t, s, discard)
	r.Put(path, doc(old, "3"))
	run(t, s, promote)
	_, err := s.Staged(t.Context(), target, attempt)
	is(t, err, stores.ErrNotFound)
	verifyEnd(t, server, s, doc(value, "3"))
}

// TestDiscardInterposed: a label that moves to another version during a discard is found there.
func TestDiscardInterposed(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, doc(old, "1"))
	run(t, s, stage)
	server.OnCall(func(c awstest.Call) {
		if c.Action == "UpdateSecretVersionStage" {
			server.OnCall(nil)
			r.Put(path, doc(old, "2"))
			run(t, s, stage)
		}
	})
	run(t, s, discard)
	if left := leftovers(r, path); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestStageAgainOnAnEarlierBase: the version of the first stage is there already, its label sits on the second's.
func TestStageAgainOnAnEarlierBase(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	base := r.Put(path, doc(old, "1"))
	run(t, s, stage)
	r.Put(path, doc(old, "2"))
	run(t, s, stage)
	r.Move(path, labelCurrent, base)
	run(t, s, stage, promote)
	verifyEnd(t, server, s, doc(value, "1"))
}

// TestKeepsChanging: someone who writes without end is not fought, and not overwritten.
func TestKeepsChanging(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	r.Put(path, doc(old, "0"))
	n := 0
	server.OnCall(func(c awstest.Call) {
		if decides(c) {
			n++
			r.Put(path, doc(old, fmt.Sprint(n)))
		}
	})
	is(t, promote(t.Context(), s), nil)
	if n != tries {
		t.Errorf("%d tries, want %d", n, tries)
	}
	verifyEnd(t, server, s, doc(old, fmt.Sprint(tries)))
}

// TestCreate: the created secret has the KMS key that was asked for; a secret named by ARN cannot be created.
func TestCreate(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	run(t, s, fill)
	if key := r.KMSKey(path); key != "alias/rotator" {
		t.Errorf("created with KMS key %q", key)
	}
	arn := stores.Target{Path: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:absent-AbCdEf"}
	is(t, s.Promote(t.Context(), arn, attempt, value, ""), stores.ErrInvalid)
	is(t, s.Check(t.Context(), arn), stores.ErrInvalid)
	arn.Path = r.ARN(path)
	if held, err := s.Current(t.Context(), arn); err != nil || !held.Equal(secret.New(alone(value))) {
		t.Errorf("by ARN: %v", err)
	}
}

// TestLimits: AWS's quotas are met with an error that says so, and shows no value.
func TestLimits(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r, s := server.Region(region), open(t, server)
	const most = 65536
	fits := most - len(doc(value, ""))
	r.Put(path, doc(secret.New("short"), strings.Repeat("x", fits)))
	run(t, s, stage)
	r.Put(path, doc(secret.New("short"), strings.Repeat("x", fits+1)))
	is(t, s.Stage(t.Context(), target, attempt, value), stores.ErrInvalid)
	is(t, s.Promote(t.Context(), target, attempt, value, secret.New("short").Fingerprint()), stores.ErrInvalid)
	if held, err := s.Current(t.Context(), target); err != nil || held.Reveal() != "short" {
		t.Errorf("after both Current is %v", err)
	}
	r.Put(path, doc(old, "1"))
	for i := range 20 - len(r.Labels(path)) {
		r.PutLabel(path, "theirs", fmt.Sprint("label", i))
	}
	another := s.Stage(t.Context(), target, "another", value)
	is(t, another, nil) // labels and versions go away: later
	if !strings.Contains(another.Error(), "LimitExceededException") {
		t.Errorf("the error is %v", another)
	}
}

// spoiled answers one action by itself, before it reaches the server.
type spoiled struct {
	*awstest.Server
	action, body string
}

func (s spoiled) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+s.action) {
		return answers{status: http.StatusOK, body: []byte(s.body)}.RoundTrip(r)
	}
	return s.Server.RoundTrip(r)
}

// TestSpoiledAnswers: a call has succeeded when AWS says so, and not when someone answers 200.
func TestSpoiledAnswers(t *testing.T) {
	t.Parallel()
	previous := func(ctx context.Context, s *Store) error {
		_, err := s.Previous(ctx, target, theirs.Fingerprint())
		return err
	}
	for _, tc := range []struct {
		action string
		seed   string // "": the secret is absent
		op     op
	}{
		{"PutSecretValue", doc(old, "1"), stage},
		{"PutSecretValue", doc(old, "1"), promote},
		{"UpdateSecretVersionStage", doc(old, "1"), promote},
		{"UpdateSecretVersionStage", doc(old, "1"), discard},
		{"DescribeSecret", doc(old, "1"), discard},
		{"DescribeSecret", doc(old, "1"), check},
		{"GetSecretValue", doc(old, "1"), check},
		{"ListSecretVersionIds", doc(old, "1"), previous},
		{"CreateSecret", "", fill},
	} {
		for _, body := range []string{`{}`, `{"error":"log in"}`, `<html>`, ``} {
			server := awstest.New()
			r := server.Region(region)
			if tc.seed != "" {
				r.Put(path, tc.seed)
				if tc.action != "PutSecretValue" {
					run(t, open(t, server), stage)
				}
			}
			s := over(t, spoiled{server, tc.action, body})
			if err := tc.op(t.Context(), s); err == nil {
				t.Errorf("%s answers %q, and that is taken for success", tc.action, body)
			} else {
				is(t, err, nil)
			}
			if now, _ := r.Value(path, labelCurrent); now != tc.seed {
				t.Errorf("consumers read %q", now)
			}
		}
	}
}
