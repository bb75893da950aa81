package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"rotator/internal/secret"
	"rotator/internal/testenv/awstest"
	"rotator/internal/testenv/vaulttest"
	"rotator/rotation"
	"rotator/rotation/schedule"
	"rotator/xai"
	"rotator/xai/xaisim"
)

const (
	team   = "team-e2e" // its id at the simulated xAI
	region = "eu-west-1"
	model  = "grok-4"
	acls   = `["api-key:model:grok-4", "api-key:endpoint:chat"]`
)

// parts is everything around the rotator. Each is reached over a socket of its own.
type parts struct {
	sim    *xaisim.Sim
	xaiURL string
	key    secret.Text // the management key

	vault *vaulttest.Server
	mount string // a KV 2 mount of this test's own

	aws    *awstest.Server
	awsURL string

	dir string // of files: secrets/ is the file store's
}

// newParts starts them. They end with the test.
func newParts(t testing.TB, o xaisim.Options) *parts {
	t.Helper()
	p := &parts{sim: xaisim.New(o), vault: vaulttest.Shared(t), aws: awstest.New(), dir: t.TempDir()}
	p.xaiURL, p.awsURL = serve(t, p.sim), serve(t, p.aws)
	p.key = p.sim.NewManagementKey(team)
	p.mount = p.vault.Mount(t, 2)
	for _, d := range []string{"secrets", "policies"} {
		if err := os.Mkdir(filepath.Join(p.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// serve puts a handler on a loopback socket until the test ends.
func serve(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that a fault breaks are no news
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// vaultToken returns a token with the rights at paths that the store's documentation asks for, and no others. A path
// that ends in /* is a folder of targets.
func (p *parts) vaultToken(t testing.TB, paths ...string) string {
	t.Helper()
	rules := ""
	for _, path := range paths {
		staged := path + ".rotator/*"
		if strings.HasSuffix(path, "*") {
			staged = path
		}
		rules += fmt.Sprintf(`
path "%[1]s/data/%[2]s"     { capabilities = ["create", "read", "update"] }
path "%[1]s/data/%[3]s"     { capabilities = ["create", "read", "update"] }
path "%[1]s/metadata/%[3]s" { capabilities = ["delete"] }
`, p.mount, path, staged)
	}
	name := p.vault.Name("rotator")
	p.vault.Policy(t, name, rules)
	return p.vault.Token(t, time.Hour, name)
}

// awsConfig is a login at the emulated account.
func (p *parts) awsConfig() aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: &p.awsURL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDCONSUMER", "consumer-secret", ""),
	}
}

func (p *parts) inference(t testing.TB) *xai.Inference {
	t.Helper()
	i, err := xai.NewInference(xai.InferenceOptions{URL: p.xaiURL})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// management is an administrator's own view of xAI.
func management(t testing.TB, url string, key secret.Text) *xai.Management {
	t.Helper()
	m, err := xai.NewManagement(xai.ManagementOptions{URL: url, Key: func(context.Context) (secret.Text, error) { return key, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (p *parts) path(name ...string) string {
	return filepath.Join(append([]string{p.dir}, name...)...)
}

// write makes a file of the user's own. It appears whole, as an editor or a deployment writes it.
func (p *parts) write(t testing.TB, name, text string) {
	t.Helper()
	path := p.path(name)
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func (p *parts) read(t testing.TB, name ...string) string {
	t.Helper()
	b, err := os.ReadFile(p.path(name...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// nothingStaged checks that no store holds anything beside the secrets named.
func (p *parts) nothingStaged(t testing.TB, vaultPaths, awsNames []string) {
	t.Helper()
	slices.Sort(vaultPaths)
	have := p.vault.List(t, p.mount, "")
	slices.Sort(have)
	if !slices.Equal(have, vaultPaths) {
		t.Errorf("Vault holds %q, want %q", have, vaultPaths)
	}
	for _, name := range awsNames {
		for label := range p.aws.Region(region).Labels(name) {
			if label != "AWSCURRENT" && label != "AWSPREVIOUS" {
				t.Errorf("AWS still has the label %s on %s", label, name)
			}
		}
	}
	left, err := filepath.Glob(p.path("secrets", ".rotator", "*.staged"))
	if err != nil || len(left) > 0 {
		t.Errorf("the file store still holds %q (%v)", left, err)
	}
}

// fields decodes a shared secret.
func fields(t testing.TB, doc string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(doc), &m); err != nil {
		t.Fatalf("a shared secret is no JSON object any more: %v", err)
	}
	return m
}

// patience is longer than a slow and busy machine needs for anything.
const patience = 10 * time.Minute

// eventually waits until done holds. Other processes and servers do not announce their changes: it polls.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// newScheduler makes an engine in this process, and the scheduler that gives it its turns.
func newScheduler(owner string, o rotation.Options) *schedule.Scheduler {
	e, j := rotation.New(o), o.Journal
	return schedule.New(schedule.Options{
		Claims: j, Leases: j, Records: j, Replicas: j, Runner: e, Chores: e.Chores, Tidy: e.Tidy,
		Owner: owner, Concurrency: e.Limits().Concurrency, Watch: e.Limits().Watch,
	})
}
