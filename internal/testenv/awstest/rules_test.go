package awstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// region is where the tests work, name what they work on.
const (
	region = "eu-west-1"
	name   = "prod/key"
)

// id returns a version id that begins with c.
func id(c string) string { return strings.Repeat(c, 8) + "-0000-4000-8000-" + strings.Repeat(c, 12) }

func client(s *Server, region string) *sm.Client {
	return sm.New(sm.Options{
		Region: region, HTTPClient: s.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// code returns the error code that AWS would show, "" for success.
func code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return err.Error()
}

// world is a server on which the steps of a rule run.
type world struct {
	s *Server
	c *sm.Client
}

// step is one call with the code that AWS answers.
type step struct {
	call func(context.Context, world) error
	want string
}

func put(token, text string, labels ...string) func(context.Context, world) error {
	return func(ctx context.Context, w world) error {
		_, err := w.c.PutSecretValue(ctx, &sm.PutSecretValueInput{SecretId: aws.String(name), ClientRequestToken: &token, SecretString: &text, VersionStages: labels})
		return err
	}
}

func create(token, text string) func(context.Context, world) error {
	return func(ctx context.Context, w world) error {
		in := &sm.CreateSecretInput{Name: aws.String(name), ClientRequestToken: &token}
		if text != "" {
			in.SecretString = &text
		}
		_, err := w.c.CreateSecret(ctx, in)
		return err
	}
}

func move(label, from, to string) func(context.Context, world) error {
	return func(ctx context.Context, w world) error {
		in := &sm.UpdateSecretVersionStageInput{SecretId: aws.String(name), VersionStage: &label}
		if from != "" {
			in.RemoveFromVersionId = &from
		}
		if to != "" {
			in.MoveToVersionId = &to
		}
		_, err := w.c.UpdateSecretVersionStage(ctx, in)
		return err
	}
}

// get reads by label and version, and fails as a test when the text is another.
func get(label, version, text string) func(context.Context, world) error {
	return func(ctx context.Context, w world) error {
		in := &sm.GetSecretValueInput{SecretId: aws.String(name)}
		if label != "" {
			in.VersionStage = &label
		}
		if version != "" {
			in.VersionId = &version
		}
		out, err := w.c.GetSecretValue(ctx, in)
		if err == nil && aws.ToString(out.SecretString) != text {
			return fmt.Errorf("text is %q", aws.ToString(out.SecretString))
		}
		return err
	}
}

func remove(ctx context.Context, w world) error {
	_, err := w.c.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: aws.String(name), RecoveryWindowInDays: aws.Int64(7)})
	return err
}

func restore(ctx context.Context, w world) error {
	_, err := w.c.RestoreSecret(ctx, &sm.RestoreSecretInput{SecretId: aws.String(name)})
	return err
}

const (
	gone     = "ResourceNotFoundException"
	exists   = "ResourceExistsException"
	badParam = "InvalidParameterException"
	badState = "InvalidRequestException"
)

// TestRules: what AWS documents about versions and labels.
func TestRules(t *testing.T) {
	t.Parallel()
	a, b, c, d := id("a"), id("b"), id("c"), id("d")
	ok := func(calls ...func(context.Context, world) error) (steps []step) {
		for _, call := range calls {
			steps = append(steps, step{call, ""})
		}
		return steps
	}
	for _, tc := range []struct {
		name   string
		given  []step
		then   []step
		labels string // "version's letter=LABEL+LABEL …" at the end
	}{
		{"an absent secret", nil, []step{{get("", "", ""), gone}, {put(a, "x"), gone}, {move("L", "", a), gone}}, ""},
		{"the first version is current", ok(create(a, "1")), ok(get("", "", "1"), get("", a, "1"), get("AWSCURRENT", a, "1")), "a=AWSCURRENT"},
		{"a create again is the same", ok(create(a, "1")), []step{{create(a, "1"), ""}, {create(a, "2"), exists}, {create(b, "1"), exists}}, "a=AWSCURRENT"},
		{"a put whatever its label is current when first", ok(create("", "")), []step{{get("", "", ""), gone}, {put(a, "1", "L"), ""}, {get("", "", "1"), ""}}, "a=AWSCURRENT+L"},
		{"a put without label is current", ok(create(a, "1"), put(b, "2")), ok(get("", "", "2"), get("AWSPREVIOUS", "", "1")), "a=AWSPREVIOUS b=AWSCURRENT"},
		{"a put with a label is not", ok(create(a, "1"), put(b, "2", "L")), ok(get("", "", "1"), get("L", "", "2"), get("L", b, "2")), "a=AWSCURRENT b=L"},
		{"a put again is ignored", ok(create(a, "1"), put(b, "2", "L"), move("L", b, "")), ok(put(b, "2", "L")), "a=AWSCURRENT"},
		{"a version never changes", ok(create(a, "1"), put(b, "2", "L")), []step{{put(b, "3", "L"), exists}, {get("L", "", "2"), ""}}, "a=AWSCURRENT b=L"},
		{"a put takes its label along", ok(create(a, "1"), put(b, "2", "L")), ok(put(c, "3", "L"), get("", b, "2")), "a=AWSCURRENT c=L"},
		{"label and version must agree", ok(create(a, "1"), put(b, "2", "L")), []step{{get("AWSCURRENT", b, ""), badState}, {get("", c, ""), gone}, {get("M", "", ""), gone}}, "a=AWSCURRENT b=L"},
		{"AWSCURRENT moves by compare-and-swap", ok(create(a, "1"), put(b, "2", "L"), put(c, "3", "M")),
			[]step{{move("AWSCURRENT", "", b), badParam}, {move("AWSCURRENT", c, b), badParam}, {get("", "", "1"), ""}, {move("AWSCURRENT", a, b), ""}, {get("", "", "2"), ""}, {move("AWSCURRENT", a, c), badParam}},
			"a=AWSPREVIOUS b=AWSCURRENT+L c=M"},
		{"AWSCURRENT cannot be removed", ok(create(a, "1")), []step{{move("AWSCURRENT", a, ""), badParam}, {move("AWSCURRENT", a, b), gone}, {get("", "", "1"), ""}}, "a=AWSCURRENT"},
		{"AWSPREVIOUS follows there and back", ok(create(a, "1"), put(b, "2", "L"), move("AWSCURRENT", a, b), move("AWSCURRENT", b, a)), nil, "a=AWSCURRENT b=AWSPREVIOUS+L"},
		{"a label is removed from its bearer only", ok(create(a, "1"), put(b, "2", "L")), []step{{move("L", a, ""), badParam}, {move("M", a, ""), badParam}, {move("L", "", ""), badParam}, {move("L", b, ""), ""}}, "a=AWSCURRENT"},
		{"a label moves with its bearer named", ok(create(a, "1"), put(b, "2", "L")), []step{{move("L", "", a), badParam}, {move("L", "", b), ""}, {move("L", b, a), ""}}, "a=AWSCURRENT+L"},
		{"a version without labels takes one again", ok(create(a, "1"), put(b, "2", "L"), move("L", b, "")), ok(move("L", "", b)), "a=AWSCURRENT b=L"},
		{"a doomed secret", ok(create(a, "1"), remove),
			[]step{{get("", "", ""), badState}, {put(b, "2"), badState}, {create(b, "2"), badState}, {move("L", "", a), badState}, {restore, ""}, {get("", "", "1"), ""}}, "a=AWSCURRENT"},
		{"tokens and sizes", ok(create(a, "1")), []step{{put("short", "2"), badParam}, {put(b, strings.Repeat("x", maxValue+1)), "ValidationException"}, {put(d, strings.Repeat("x", maxValue)), ""}}, "a=AWSPREVIOUS d=AWSCURRENT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := New()
			w := world{s, client(s, region)}
			for i, st := range slices.Concat(tc.given, tc.then) {
				if got := code(st.call(t.Context(), w)); got != st.want {
					t.Fatalf("step %d: %q, want %q", i+1, got, st.want)
				}
			}
			if got := stages(t, w); got != tc.labels {
				t.Errorf("labels are %q, want %q", got, tc.labels)
			}
		})
	}
}

// stages returns the labels of every version by DescribeSecret.
func stages(t *testing.T, w world) string {
	out, err := w.c.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: aws.String(name)})
	if err != nil {
		return ""
	}
	var all []string
	for version, labels := range out.VersionIdsToStages {
		slices.Sort(labels)
		all = append(all, version[:1]+"="+strings.Join(labels, "+"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := New()
	s.Region(region).Put(name, "text")
	arn := s.Region(region).ARN(name)
	for id, want := range map[string]string{name: "", arn: "", arn[:len(arn)-7]: "", arn[:len(arn)-6]: gone, "prod": gone} {
		_, err := client(s, region).GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: &id})
		if got := code(err); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if _, err := client(s, "us-east-1").GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: aws.String(name)}); code(err) != gone {
		t.Errorf("another region: %v", err)
	}
	if _, err := client(s, region).CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String("no spaces")}); code(err) != "ValidationException" {
		t.Errorf("a name with a space: %v", err)
	}
}

func TestBinary(t *testing.T) {
	t.Parallel()
	s := New()
	s.Region(region).PutBinary(name, []byte{0, 1, 255})
	out, err := client(s, region).GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: aws.String(name)})
	if err != nil || string(out.SecretBinary) != "\x00\x01\xff" || out.SecretString != nil {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestQuotas: labels are counted over all versions; versions without any go, the oldest first, beyond 100.
func TestQuotas(t *testing.T) {
	t.Parallel()
	s := New()
	r := s.Region(region)
	first := r.Put(name, "0")
	for i := range maxLabels - 1 {
		r.PutLabel(name, fmt.Sprint("labeled", i), fmt.Sprint("L", i))
	}
	w := world{s, client(s, region)}
	for _, call := range []func(context.Context, world) error{put(id("a"), "x", "one-more"), move("one-more", "", first)} {
		if got := code(call(t.Context(), w)); got != "LimitExceededException" {
			t.Errorf("one label more: %q", got)
		}
	}
	r.Move(name, "L0", "")
	unlabeled := r.Versions(name)[1]
	for i := range maxVersions {
		r.Put(name, fmt.Sprint("put", i))
	}
	left := r.Versions(name)
	if len(left) != maxVersions || slices.Contains(left, unlabeled) || slices.Contains(left, first) {
		t.Errorf("%d versions are left", len(left))
	}
	seen := 0
	pages := sm.NewListSecretVersionIdsPaginator(w.c, &sm.ListSecretVersionIdsInput{SecretId: aws.String(name), IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(30)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen += len(page.Versions)
	}
	if seen != maxVersions {
		t.Errorf("the pages tell %d versions", seen)
	}
}

// TestStates: what DescribeSecret says of a secret that others look after, and what writes say.
func TestStates(t *testing.T) {
	t.Parallel()
	s := New()
	w := world{s, client(s, region)}
	describe := func() *sm.DescribeSecretOutput {
		out, err := w.c.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: aws.String(name)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s.Region(region).Put(name, "text")
	if _, err := w.c.RotateSecret(t.Context(), &sm.RotateSecretInput{SecretId: aws.String(name)}); err != nil || !aws.ToBool(describe().RotationEnabled) {
		t.Errorf("after RotateSecret (%v) rotation is off", err)
	}
	if _, err := w.c.CancelRotateSecret(t.Context(), &sm.CancelRotateSecretInput{SecretId: aws.String(name)}); err != nil || aws.ToBool(describe().RotationEnabled) {
		t.Errorf("after CancelRotateSecret (%v) rotation is on", err)
	}
	s.Region(region).SetReplicaOf(name, "us-east-1")
	if got := code(put(id("a"), "x")(t.Context(), w)); got != badState || aws.ToString(describe().PrimaryRegion) != "us-east-1" {
		t.Errorf("a put on a replica: %q", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := New()
	w := world{s, client(s, region)}
	r := s.Region(region)
	r.Put(name, "0")
	s.Inject(
		Fault{Action: "PutSecretValue", Code: "ThrottlingException"},
		Fault{Action: "PutSecretValue", Code: "InternalServiceError", After: true},
		Fault{Action: "PutSecretValue", Skip: 1, Times: -1},
	)
	for i, want := range []struct{ code, value string }{{"ThrottlingException", "0"}, {"InternalServiceError", "put1"}, {"", "put2"}, {"EOF", "put2"}, {"EOF", "put2"}} {
		got := code(put(id(fmt.Sprint(i)), fmt.Sprint("put", i))(t.Context(), w))
		value, _ := r.Value(name, "AWSCURRENT")
		if (got != want.code && (want.code == "" || !strings.Contains(got, want.code))) || value != want.value {
			t.Errorf("put %d: %q and %q is current, want %q and %q", i, got, value, want.code, want.value)
		}
	}
	s.Heal()
	s.Deny("PutSecretValue")
	s.DisableKMS()
	if got := code(put(id("a"), "x")(t.Context(), w)); got != "AccessDeniedException" {
		t.Errorf("denied: %q", got)
	}
	if got := code(get("", "", "")(t.Context(), w)); got != "DecryptionFailure" {
		t.Errorf("without the KMS key: %q", got)
	}
	s.Heal()
	hooked := Call{}
	s.OnCall(func(c Call) { hooked = c; r.Put(name, "by the hook") })
	if got := code(put(id("b"), "x", "L")(t.Context(), w)); got != "" {
		t.Error(got)
	}
	if value, _ := r.Value(name, "AWSCURRENT"); value != "by the hook" || hooked.Action != "PutSecretValue" || !slices.Equal(hooked.Labels, []string{"L"}) {
		t.Errorf("the hook saw %+v, current is %q", hooked, value)
	}
}

// TestKeys: a request must be signed, and with a key that the server knows once it knows any.
func TestKeys(t *testing.T) {
	t.Parallel()
	s := New()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://secretsmanager/", strings.NewReader("{}"))
	r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	resp, err := s.Client().Do(r)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("unsigned: %v, %v", resp, err)
	}
	s.Region(region).Put(name, "text")
	s.AddKey("AKIDOTHER", "")
	w := world{s, client(s, region)}
	if got := code(get("", "", "text")(t.Context(), w)); got != "UnrecognizedClientException" {
		t.Errorf("an unknown key: %q", got)
	}
	s.AddKey("AKIDEXAMPLE", "")
	if got := code(get("", "", "text")(t.Context(), w)); got != "" {
		t.Errorf("a known key: %q", got)
	}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	s := New()
	s.AddKey("AKIDEXAMPLE", "")
	s.AddRole("arn:role", "outside")
	c := sts.New(sts.Options{Region: region, HTTPClient: s.Client(), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")})
	in := &sts.AssumeRoleInput{RoleArn: aws.String("arn:role"), RoleSessionName: aws.String("test")}
	if _, err := c.AssumeRole(t.Context(), in); code(err) != "AccessDenied" {
		t.Errorf("without the external id: %v", err)
	}
	in.ExternalId = aws.String("outside")
	out, err := c.AssumeRole(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	s.Region(region).Put(name, "text")
	for token, want := range map[string]string{aws.ToString(out.Credentials.SessionToken): "", "another": "UnrecognizedClientException"} {
		role := sm.New(sm.Options{Region: region, HTTPClient: s.Client(), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(RoleKey, "secret", token)})
		if got := code(get("", "", "text")(t.Context(), world{s, role})); got != want {
			t.Errorf("with token %q: %q, want %q", token, got, want)
		}
	}
}
