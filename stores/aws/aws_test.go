package aws

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"rotator/internal/testenv/awstest"
	"rotator/stores"
	"rotator/stores/storetest"
)

const region = "eu-west-1"

// TestMain keeps the machine's own AWS configuration out, and notices goroutines left behind.
func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	goleak.VerifyTestMain(m)
}

// accessKey is the id of the key that stores log in with.
const accessKey = "AKIDEXAMPLE"

// open returns a store over the server.
func open(t testing.TB, s *awstest.Server) *Store {
	t.Helper()
	return openWith(t, s, Options{KMSKeyID: "alias/rotator"})
}

func openWith(t testing.TB, s *awstest.Server, o Options) *Store {
	t.Helper()
	o.Region = region
	if o.HTTPClient == nil {
		o.HTTPClient = s.Client()
	}
	o.Credentials = credentials.NewStaticCredentialsProvider(accessKey, "secret", "")
	store, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestContract runs the suite with the rights that Permissions names for its targets, and no others.
func TestContract(t *testing.T) {
	t.Parallel()
	server := awstest.New()
	r := server.Region(region)
	rights := entitlement{server: server}
	network := &late{next: server.Client().Transport}
	storetest.Run(t, storetest.Harness{
		Store:      openWith(t, server, Options{KMSKeyID: "alias/rotator", HTTPClient: &http.Client{Transport: network}}),
		Structured: func(t *testing.T) stores.Target { return rights.add(t, "api_key") },
		Whole:      func(t *testing.T) stores.Target { return rights.add(t, "") },
		Seed:       func(_ *testing.T, t stores.Target, doc string) { r.Put(t.Path, doc) },
		Read:       func(_ *testing.T, t stores.Target) (string, bool) { return r.Value(t.Path, "AWSCURRENT") },
		Leftovers:  func(_ *testing.T, t stores.Target) []string { return leftovers(r, t.Path) },
		Race: func(t *testing.T, target stores.Target, human func()) {
			server.OnCall(func(c awstest.Call) {
				if c.SecretID == target.Path && decides(c) {
					human()
				}
			})
			t.Cleanup(func() { server.OnCall(nil) })
		},
		Delay:    func(*testing.T, stores.Target) storetest.Delayed { return network.hold() },
		CanStage: true, KeepsPrevious: true, HasCAS: true,
	})
	for _, c := range server.Calls() {
		for _, l := range c.Labels {
			if l == labelPending {
				t.Fatalf("%s asked for %s", c.Action, l)
			}
		}
	}
}

// decides reports whether the call is the one by which consumers would read something else.
func decides(c awstest.Call) bool {
	return c.Action == "CreateSecret" || c.Action == "UpdateSecretVersionStage" && c.Labels[0] == labelCurrent
}

// leftovers returns every label that AWS does not move by itself.
func leftovers(r awstest.Region, path string) []string {
	var left []string
	for l := range r.Labels(path) {
		if l != labelCurrent && l != labelPrevious {
			left = append(left, l)
		}
	}
	return left
}
