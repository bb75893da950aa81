package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/hashicorp/vault/api"

	"rotator/internal/secret"
	"rotator/internal/testenv/vaulttest"
	"rotator/policies"
	"rotator/rotation"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
	"rotator/stores"
	"rotator/stores/aws"
	"rotator/stores/file"
	"rotator/stores/vault"
	"rotator/xai/xaisim"
)

// TestThreeStores: one policy over Vault, AWS and a file is rotated three times by its schedule while consumers of each
// read and chat. No call fails, xAI is left with one key, the neighbors of the key in each secret are as they were.
func TestThreeStores(t *testing.T) {
	t.Parallel()
	threeStores(t, func(*vaulttest.Server) string { return "" })
}

// TestThreeStoresFlakyVault is the same through a proxy that breaks one call to Vault in eight, before or after it had
// its effect.
func TestThreeStoresFlakyVault(t *testing.T) {
	t.Parallel()
	threeStores(t, func(s *vaulttest.Server) string {
		p := s.Proxy(t)
		flaky(t, p, 0.125)
		return p.Address
	})
}

// flaky breaks the given part of all calls, each in one of the ways in which calls break.
func flaky(t testing.TB, p *vaulttest.Proxy, part float64) {
	seed := rand.Uint64()
	t.Logf("the proxy's seed is %d", seed)
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	kinds := []vaulttest.Fault{
		vaulttest.Drop(), vaulttest.Lose(), vaulttest.Answer(503, "<html>upstream</html>"),
		vaulttest.Answer(500, `{"errors":["internal"]}`), vaulttest.Delay(50 * time.Millisecond),
	}
	p.Inject(0, func(*http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return rng.Float64() < part
	}, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		mu.Lock()
		kind := kinds[rng.IntN(len(kinds))]
		mu.Unlock()
		kind(w, r, forward)
	})
}

const threePolicy = `name: chat
team: research
schedule: "%s"
key: {acls: ` + acls + `}
targets:
  - {store: vault, path: llm/chat, field: api_key}
  - {store: aws, path: prod/chat, field: XAI_API_KEY}
  - {store: local, path: chat.json, field: key}
adopt: true
retire: {overlap: %s, soak: 1s}
`

func threeStores(t *testing.T, vaultAddress func(*vaulttest.Server) string) {
	p := newParts(t, xaisim.Options{Seed: rand.Uint64(), Latency: 10 * time.Millisecond})
	_, first := p.sim.AddKey(team, "made by hand", "api-key:model:grok-4", "api-key:endpoint:chat")
	p.vault.Write(t, p.mount, "llm/chat", fmt.Sprintf(`{"api_key":%q,"db":"postgres","edits":0}`, first.Reveal()))
	p.aws.Region(region).Put("prod/chat", fmt.Sprintf(`{"XAI_API_KEY":%q,"region":"eu","n":1.50}`, first.Reveal()))
	p.write(t, "secrets/chat.json", fmt.Sprintf("{\n  \"key\": %q,\n  \"url\": \"https://example.com/?a=b&c\"\n}\n", first.Reveal()))

	w := newWorld(t, p, vaultAddress(p.vault))
	_, stop := consume(t, p.inference(t), map[string]source{
		"Vault": p.fromVault(t, "llm/chat", "api_key"), "AWS": p.fromAWS("prod/chat", "XAI_API_KEY"), "file": p.fromFile("chat.json", "key"),
	})
	edits := neighbor(t, p)
	j := openJournal(t, p)
	load(t, j, fmt.Sprintf(threePolicy, "@every 3s", overlap))
	engine := newScheduler("e2e", rotation.Options{
		Journal: j, Environment: w, Limits: rotation.Limits{Watch: 2 * time.Second, Quarantine: 2 * time.Second, MaxBackoff: time.Second},
	})
	running, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(running) }()

	eventually(t, "three rotations are live", func() bool { return lives(t, j) >= 3 })
	load(t, j, fmt.Sprintf(threePolicy, "@every 720h", overlap)) // no further one
	eventually(t, "the last rotation ends", func() bool {
		r, err := j.Load(t.Context(), "chat")
		return err == nil && r.Rotation == nil && leftOver(r) == 0
	})
	written := edits()
	stop()
	end()
	if err := <-ended; err != nil {
		t.Errorf("the engine ended with %v", err)
	}
	p.oneKeyEverywhere(t, first)
	p.nothingStaged(t, []string{"llm/chat"}, []string{"prod/chat"})
	doc, _ := p.vault.Read(t, p.mount, "llm/chat")
	if f := fields(t, doc); len(f) != 3 || f["db"] != "postgres" || fmt.Sprint(f["edits"]) != fmt.Sprint(written) {
		t.Errorf("the neighbors in Vault: db %v, edits %v of %d", f["db"], f["edits"], written)
	}
}

// oneKeyEverywhere checks what is left: one key at xAI, not the first one, in all three targets with its neighbors.
func (p *parts) oneKeyEverywhere(t *testing.T, first secret.Text) {
	t.Helper()
	left := p.sim.Live(team)
	if len(left) != 1 || left[0].Disabled || left[0].Secret.Equal(first) {
		t.Fatalf("I2: xAI is left with %d keys: %+v", len(left), left)
	}
	key := left[0].Secret.Reveal()
	held, _ := p.vault.Read(t, p.mount, "llm/chat")
	if fields(t, held)["api_key"] != key {
		t.Error("Vault does not hold the key that is left")
	}
	want := fmt.Sprintf(`{"XAI_API_KEY":%q,"region":"eu","n":1.50}`, key)
	if got, _ := p.aws.Region(region).Value("prod/chat", "AWSCURRENT"); got != want {
		t.Error("the secret in AWS is not as it was but for its key")
	}
	want = fmt.Sprintf("{\n  \"key\": %q,\n  \"url\": \"https://example.com/?a=b&c\"\n}\n", key)
	if p.read(t, "secrets", "chat.json") != want {
		t.Error("the file is not as it was but for its key")
	}
}

// neighbor counts up in another field of the secret in Vault, with check-and-set as a careful writer does, until the
// function that it returns is called, which says how far it came.
func neighbor(t testing.TB, p *parts) (stop func() int) {
	kv := p.vault.Root().KVv2(p.mount)
	ctx, cancel := context.WithCancel(t.Context())
	count, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			call := context.WithoutCancel(ctx)
			got, err := kv.Get(call, "llm/chat")
			if err != nil {
				t.Errorf("the neighbor's read: %v", err)
				return
			}
			got.Data["edits"] = count + 1
			if _, err := kv.Put(call, "llm/chat", got.Data, api.WithCheckAndSet(got.VersionMetadata.Version)); err == nil {
				count++
			} // otherwise the rotator came first: read again
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(cancel)
	return func() int {
		cancel()
		<-done
		return count
	}
}

// world is the configuration of an engine in this process.
type world struct {
	stores map[string]stores.Store
	team   rotation.Team
}

func (w world) Store(name string) (stores.Store, bool) { s, ok := w.stores[name]; return s, ok }

func (w world) Team(context.Context, string) (rotation.Team, error) { return w.team, nil }

func (w world) Teams() []string { return []string{"research"} }

func (w world) Stores() []string { return slices.Sorted(maps.Keys(w.stores)) }

func (w world) Freezes() []policies.Freeze { return nil }

func (w world) AdoptedWithin(string) func(string) bool { return nil }

func (w world) Observes() bool { return false }

// newWorld connects to all parts, to Vault at another address when one is given.
func newWorld(t testing.TB, p *parts, vaultAddress string) world {
	t.Helper()
	if vaultAddress == "" {
		vaultAddress = p.vault.Address
	}
	token := secret.New(p.vaultToken(t, "llm/chat"))
	v, err := vault.New(vault.Options{Address: vaultAddress, Mount: p.mount, Auth: vault.Auth{
		Method: "token", Secret: func(context.Context) (secret.Text, error) { return token, nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := aws.New(t.Context(), aws.Options{Region: region, Endpoint: p.awsURL,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDROTATOR", "rotator-secret", "")})
	if err != nil {
		t.Fatal(err)
	}
	f, err := file.New(file.Options{Dir: p.path("secrets")})
	if err != nil {
		t.Fatal(err)
	}
	m := management(t, p.xaiURL, p.key)
	return world{
		stores: map[string]stores.Store{"vault": v, "aws": a, "local": f},
		team:   rotation.Team{ID: team, Keys: m, About: m, Probe: p.inference(t)},
	}
}

func openJournal(t testing.TB, p *parts) *sqldb.DB {
	t.Helper()
	j, err := sqldb.Open(t.Context(), "sqlite:"+p.path("rotator.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// load makes the policies in doc the ones there are.
func load(t testing.TB, j journal.Journal, doc string) {
	t.Helper()
	ps, problems := policies.Parse("e2e.yaml", []byte(doc), policies.Options{Limits: policies.Limits{MinInterval: time.Second}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	specs := make([]journal.Spec, len(ps))
	for i, p := range ps {
		specs[i] = journal.Spec{Name: p.Name, Team: p.Team, Canonical: string(p.Canonical())}
	}
	if err := j.SetPolicies(t.Context(), time.Now(), specs); err != nil {
		t.Fatal(err)
	}
}

// lives counts the rotations that became live.
func lives(t testing.TB, j journal.Reader) (n int) {
	t.Helper()
	all, err := j.Rotations(t.Context(), "", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if !r.LiveAt.IsZero() {
			n++
		}
	}
	return n
}
