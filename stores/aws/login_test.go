package aws

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
)

// home points AWS's shared files at a folder of the test's own.
func home(t *testing.T, config, credentials string) {
	t.Helper()
	for name, file := range map[string]struct{ variable, text string }{
		"config":      {"AWS_CONFIG_FILE", config},
		"credentials": {"AWS_SHARED_CREDENTIALS_FILE", credentials},
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv(file.variable, path)
	}
}

const (
	profiles = "[profile team]\nregion = eu-west-1\n[profile role]\nregion = eu-west-1\nsource_profile = team\nrole_arn = arn:aws:iam::123456789012:role/rotator\nexternal_id = outside\n"
	keys     = "[team]\naws_access_key_id = AKIDTEAM\naws_secret_access_key = canary\n"
	roleARN  = "arn:aws:iam::123456789012:role/rotator"
)

// TestLogin: each way to credentials ends with the key that it should, in the region that it should.
func TestLogin(t *testing.T) {
	role := Role{ARN: roleARN, ExternalID: "outside"}
	for _, tc := range []struct {
		name string
		env  map[string]string
		o    Options
		want string // access key id of the calls
	}{
		{"environment", map[string]string{"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_REGION": region}, Options{}, "AKIDENV"},
		{"profile", nil, Options{Profile: "team"}, "AKIDTEAM"},
		{"profile by environment", map[string]string{"AWS_PROFILE": "team"}, Options{Region: region}, "AKIDTEAM"},
		{"profile with a role", nil, Options{Profile: "role"}, awstest.RoleKey},
		{"role over a profile", nil, Options{Profile: "team", Role: role}, awstest.RoleKey},
		{"role over the environment", map[string]string{"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "canary"}, Options{Region: region, Role: role}, awstest.RoleKey},
	} {
		t.Run(tc.name, func(t *testing.T) {
			home(t, profiles, keys)
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			server := awstest.New()
			server.AddKey("AKIDENV", "")
			server.AddKey("AKIDTEAM", "")
			server.AddRole(roleARN, "outside")
			server.Region(region).Put(path, doc(old, "1"))
			tc.o.HTTPClient = server.Client()
			s, err := New(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if held, err := s.Current(t.Context(), target); err != nil || !held.Equal(old) {
				t.Errorf("Current: %v", err)
			}
			for _, c := range server.Calls() {
				if c.AccessKey != tc.want {
					t.Errorf("called with %s, want %s", c.AccessKey, tc.want)
				}
			}
		})
	}
}

// logins counts the calls to STS.
type logins struct {
	*awstest.Server
	n int
}

func (l *logins) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "sts.") {
		l.n++
	}
	return l.Server.RoundTrip(r)
}

// TestRoleIsAssumedInTime: a session is replaced before it ends by the clock of AWS, which may be ahead of ours.
func TestRoleIsAssumedInTime(t *testing.T) {
	home(t, profiles, keys)
	for name, o := range map[string]Options{
		"role over a profile": {Profile: "team", Role: Role{ARN: roleARN, ExternalID: "outside"}},
		"profile with a role": {Profile: "role"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &logins{Server: awstest.New()}
				server.AddKey("AKIDTEAM", "")
				server.AddRole(roleARN, "outside")
				server.Region(region).Put(path, doc(old, "1"))
				o.HTTPClient = &http.Client{Transport: server}
				s, err := New(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range []struct {
					after time.Duration
					want  int // sessions so far, of an hour each
				}{{0, 1}, {54 * time.Minute, 1}, {2 * time.Minute, 2}, {54 * time.Minute, 2}, {2 * time.Minute, 3}} {
					time.Sleep(c.after)
					if _, err := s.Current(t.Context(), target); err != nil || server.n != c.want {
						t.Errorf("%d sessions, want %d: %v", server.n, c.want, err)
					}
				}
			})
		})
	}
}

// TestLoginRefused: what is denied says which action it was, also when it was not ours.
func TestLoginRefused(t *testing.T) {
	home(t, profiles, keys)
	for _, tc := range []struct {
		name, says string
		o          Options
		want       error
	}{
		{"unknown key", "UnrecognizedClientException", Options{Profile: "team"}, stores.ErrDenied},
		{"role without its external id", "sts:AssumeRole at prod/grok: the store denies access: AccessDenied", Options{Profile: "team", Role: Role{ARN: roleARN}}, stores.ErrDenied},
		{"no credentials at all", "no credentials", Options{Region: region}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := awstest.New()
			server.AddRole(roleARN, "outside")
			if tc.o.Role.ARN == "" {
				server.AddKey("AKIDOTHER", "")
			}
			tc.o.HTTPClient = server.Client()
			s, err := New(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			err = s.Check(t.Context(), target)
			if is(t, err, tc.want); err != nil && (!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary")) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestNewRefused: what cannot work is refused at once, without quoting a file or a URL.
func TestNewRefused(t *testing.T) {
	home(t, profiles, keys)
	for _, tc := range []struct {
		name, says string
		o          Options
	}{
		{"no region", "no region", Options{}},
		{"no such profile", `no profile "none"`, Options{Profile: "none"}},
		{"plain http", "is not https", Options{Region: region, Endpoint: "http://secrets.example"}},
		{"plain http to a name like loopback", "is not https", Options{Region: region, Endpoint: "http://127.0.0.1.example"}},
		{"another scheme", "is not https", Options{Region: region, Endpoint: "ftp://localhost"}},
		{"credentials in the URL", "holds a user or a password", Options{Region: region, Endpoint: "https://user:canary@secrets.example"}},
		{"no URL", "is no absolute URL", Options{Region: region, Endpoint: "canary"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(t.Context(), tc.o)
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Setenv("AWS_MAX_ATTEMPTS", "canary")
	if _, err := New(t.Context(), Options{Region: region}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("with a bad environment the error is %v", err)
	}
}

// TestEndpoint: over a real connection on loopback. A redirect is not followed, since it would carry credentials
// elsewhere, and an endpoint that the environment sets keeps the rule of our own.
func TestEndpoint(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary")
	server := awstest.New()
	server.Region(region).Put(path, doc(old, "1"))
	listener := httptest.NewServer(server)
	defer listener.Close()
	at := func(endpoint string) *Store {
		s, err := New(t.Context(), Options{Region: region, Endpoint: endpoint})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.client.Options().HTTPClient.(guard).next.CloseIdleConnections)
		return s
	}
	s := at(listener.URL)
	run(t, s, check, stage, promote, discard)
	server.Inject(awstest.Fault{Action: "UpdateSecretVersionStage", After: true})
	run(t, s, stage)
	is(t, discard(t.Context(), s), nil)
	verifyEnd(t, server, s, doc(value, "1"))

	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		defer redirect.Close()
		_, err := at(redirect.URL).put(t.Context(), target, "id", value, "label")
		is(t, err, nil)
	}

	t.Setenv("AWS_ENDPOINT_URL", "http://secrets.example")
	_, err := at("").put(t.Context(), target, "id", value, "label")
	if is(t, err, nil); err != nil && !strings.Contains(err.Error(), "must be https") {
		t.Errorf("the error is %v", err)
	}
}

// TestNoAnswer: what only may have gone wrong is not known, and says where the network broke.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client is gone
		<-r.Context().Done()
	}))
	defer silent.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	for _, tc := range []struct {
		endpoint string
		timeout  time.Duration
		says     string
	}{
		{"http://127.0.0.1:1", time.Minute, "connection refused"},
		{silent.URL, 50 * time.Millisecond, "time is out"},
		{untrusted.URL, time.Minute, "certificate"},
	} {
		s, err := New(t.Context(), Options{
			Region: region, Endpoint: tc.endpoint, HTTPClient: &http.Client{Timeout: tc.timeout},
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "canary"}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.put(t.Context(), target, "id", value, "label")
		if is(t, err, nil); err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("the error %v does not say %q", err, tc.says)
		}
	}
}

// TestMeanings: what each of AWS's codes means to the caller. Reads are sent again when it may help, three times at
// most, writes never.
func TestMeanings(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]error{
		"AccessDeniedException":       stores.ErrDenied,
		"UnrecognizedClientException": stores.ErrDenied,
		"ExpiredTokenException":       stores.ErrDenied,
		"ResourceNotFoundException":   stores.ErrNotFound,
		"InvalidRequestException":     stores.ErrInvalid,
		"ValidationException":         stores.ErrInvalid,
		"DecryptionFailure":           stores.ErrInvalid,
		"LimitExceededException":      nil,
		"ThrottlingException":         nil,
		"InternalServiceError":        nil,
		"RequestTimeTooSkewed":        nil,
		"xai-canary":                  nil,
		"":                            nil,
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := awstest.New()
				s := open(t, server)
				server.Region(region).Put(path, doc(old, "1"))
				server.Inject(awstest.Fault{Code: code, Times: -1})
				_, err := s.Current(t.Context(), target)
				if is(t, err, want); want != nil && !strings.Contains(err.Error(), code+" (request 0") {
					t.Errorf("the error is %v", err)
				}
				reads := len(server.Calls())
				if reads > readAttempts {
					t.Errorf("read %d times", reads)
				}
				_, err = s.put(t.Context(), target, "id", value, "label")
				is(t, err, want)
				if writes := len(server.Calls()) - reads; writes != 1 {
					t.Errorf("put %d times", writes)
				}
			})
		})
	}
}
