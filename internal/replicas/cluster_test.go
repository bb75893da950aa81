package replicas

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"rotator/internal/api"
	"rotator/internal/testenv/porttest"
	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal/sqldb"
	"rotator/xai/xaisim"
)

const (
	team       = "team-replicas" // its id at the simulated xAI
	lease      = 2 * time.Second
	quarantine = 10 * time.Second // longer than any request lives here: the longest freeze and the longest delay
	overlap    = 3 * time.Second
)

// cluster is what the replicas share, and the replicas.
type cluster struct {
	testing.TB
	dir      string
	postgres *postgrestest.Server
	upstream atomic.Pointer[upstream] // where the replicas' lines to the database end
	url      string                   // of the database, without a proxy
	sim      *xaisim.Sim
	names    []string // of the policies
	lease    time.Duration
	overlap  time.Duration
	watch    time.Duration
	slots    int // steps that one replica takes at a time
	replicas []*replica
}

// upstream is the end of a line.
type upstream struct{ network, address string }

// replica is one process of the product with lines of its own to the database and to xAI.
type replica struct {
	*cluster
	number   int
	program  func() (string, error) // builds what it is a process of
	database *proxy
	xai      *proxy
	web      string // host:port
	begun    bool   // it was ready since it was started

	mu      sync.Mutex
	process *os.Process   // guarded by mu; nil while none runs
	ended   chan struct{} // guarded by mu; closed when process was waited for
}

// newCluster starts everything but the replicas.
func newCluster(t testing.TB, replicas, policies int) *cluster {
	t.Helper()
	return newClusterOn(t, postgrestest.Start(t), replicas, policies)
}

// newClusterOn is newCluster with a server of its own kind.
func newClusterOn(t testing.TB, postgres *postgrestest.Server, replicas, policies int) *cluster {
	t.Helper()
	c := &cluster{TB: t, lease: lease, overlap: overlap, watch: 3 * time.Second, slots: 8, dir: t.TempDir(), postgres: postgres,
		sim: xaisim.New(xaisim.Options{ListLag: time.Second, Latency: 10 * time.Millisecond})}
	c.url = c.postgres.Database(t)
	c.upstream.Store(&upstream{"unix", c.postgres.Socket()})
	web := httptest.NewUnstartedServer(c.sim)
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that break are no news
	web.Start()
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	for _, d := range []string{"secrets", "policies"} {
		if err := os.Mkdir(c.path(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.write("management.key", c.sim.NewManagementKey(team).Reveal())
	c.write("database.password", "asked of nobody")
	for i := range policies {
		c.names = append(c.names, fmt.Sprintf("p%03d", i))
	}
	for i := range replicas {
		r := &replica{cluster: c, number: i, program: binary}
		r.database = c.newLine(t)
		r.xai = newProxy(t, func() (net.Conn, error) { return net.Dial("tcp", web.Listener.Addr().String()) })
		r.web = porttest.Free(t)
		r.configure()
		c.replicas = append(c.replicas, r)
	}
	return c
}

// newLine is a line to the database.
func (c *cluster) newLine(t testing.TB) *proxy {
	t.Helper()
	return newProxy(t, func() (net.Conn, error) { to := c.upstream.Load(); return net.Dial(to.network, to.address) })
}

func (c *cluster) path(name ...string) string {
	return filepath.Join(append([]string{c.dir}, name...)...)
}

// write makes a file that appears whole.
func (c *cluster) write(name, text string) {
	c.Helper()
	if err := os.WriteFile(c.path(name+"~"), []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	if err := os.Rename(c.path(name+"~"), c.path(name)); err != nil {
		c.Fatal(err)
	}
}

// schedule writes the policies, in the folder that all replicas share. Those that recur soon come due some time apart.
func (c *cluster) schedule(every time.Duration) {
	c.Helper()
	var docs []string
	for i, name := range c.names {
		every := every
		if every < time.Hour {
			every += time.Duration(i%len(c.replicas)*2) * time.Second
		}
		docs = append(docs, fmt.Sprintf(`name: %s
team: research
schedule: "@every %s"
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [{store: local, path: %s}]
retire: {overlap: %s, soak: 1s}
`, name, every, name, c.overlap))
	}
	const most = 1000 // a file has at most 1 MiB
	for i := 0; i < len(docs); i += most {
		c.write(fmt.Sprintf("policies/%03d.yaml", i/most), strings.Join(docs[i:min(i+most, len(docs))], "---\n"))
	}
}

func (r *replica) name(of string) string { return fmt.Sprintf("%s-%d", of, r.number) }

func (r *replica) configure() {
	r.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	r.write(r.name("replica")+".yaml", fmt.Sprintf(`state: "postgres://postgres@%s%s?sslmode=disable&password=file:database.password"
policies: policies
listen: %q
socket: %s.sock
xai: {management_url: "http://%[5]s", inference_url: "http://%[5]s"}
teams: {research: {management_key: "file:management.key"}}
stores: {local: {type: file, dir: secrets, shared: true}}
limits: {min_interval: 1s, quarantine: %s, watch: %s, lease: %s, concurrency: %d}
`, r.database.address(), u.Path, r.web, r.name("replica"), r.xai.address(), quarantine, r.watch, r.lease, r.slots))
}

// start runs the replica. What it says goes to a file.
func (r *replica) start() {
	r.Helper()
	path, err := r.program()
	if err != nil {
		r.Fatal(err)
	}
	out, err := os.OpenFile(r.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the child has its own
	cmd := exec.Command(path, "run", "--log-format", "json", "--config", r.path(r.name("replica")+".yaml"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir, clockVariable + "=" + r.clock()}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	ended := make(chan struct{})
	r.begun = false
	r.mu.Lock()
	r.process, r.ended = cmd.Process, ended
	r.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended does not matter: a service manager would start it again
		close(ended)
	}()
	r.Cleanup(r.kill)
}

// clock is the file that sets the clock of a skewed build.
func (r *replica) clock() string { return r.path(r.name("clock")) }

func (r *replica) log() string { return r.path(r.name("log")) }

// kill ends the process as a power cut does.
func (r *replica) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return
	}
	_ = r.process.Kill() // it may have ended already
	<-r.ended
	r.process = nil
}

// terminate asks the process to stop, as a service manager does.
func (r *replica) terminate() {
	r.Helper()
	r.signal(syscall.SIGTERM)
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.ended:
		r.process = nil
	case <-time.After(2 * time.Minute): // it takes 30 seconds at most, and the machine its time
		r.Fatal("SIGTERM did not end the process")
	}
}

// revive starts the replica again where it ended by itself, as a service manager does: it does when it finds no database,
// or stalls for seconds, before it has opened the journal.
func (r *replica) revive() {
	r.mu.Lock()
	gone := r.process == nil
	if !gone {
		select {
		case <-r.ended:
			gone = true
		default:
		}
	}
	r.mu.Unlock()
	if gone {
		r.start()
	}
}

func (r *replica) signal(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		_ = r.process.Signal(s) // it may have ended already
	}
}

func (r *replica) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return 0
	}
	return r.process.Pid
}

func (r *replica) client() *api.Client { return api.Dial(r.path(r.name("replica") + ".sock")) }

// owner finds the replica that holds a policy's claim now, nil when none does or the database does not answer.
func (c *cluster) owner() *replica {
	c.Helper()
	var owner string
	err := c.query(`SELECT lease_owner FROM policies WHERE lease_owner <> '' ORDER BY random() LIMIT 1`, &owner)
	if err != nil {
		return nil
	}
	for _, r := range c.replicas {
		if strings.Contains(owner, fmt.Sprintf("/%d/", r.pid())) {
			return r
		}
	}
	return nil
}

// query reads one row from the database, beside the replicas.
func (c *cluster) query(query string, dest ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("pgx", c.url)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return db.QueryRowContext(ctx, query).Scan(dest...)
}

// look opens the journal beside the replicas, to read.
func (c *cluster) look() *sqldb.DB {
	c.Helper()
	j, err := sqldb.Open(context.Background(), c.url, sqldb.Options{ReadOnly: true})
	if err != nil {
		c.Fatal(err)
	}
	return j
}

// said counts the lines of all replicas' logs that hold text.
func (c *cluster) said(text string) (n int) {
	c.Helper()
	for _, r := range c.replicas {
		b, err := os.ReadFile(r.log())
		if err != nil {
			c.Fatal(err)
		}
		n += strings.Count(string(b), text)
	}
	return n
}

// complain shows the end of each log when the test failed.
func (c *cluster) complain() {
	c.Cleanup(func() {
		if !c.Failed() {
			return
		}
		for _, r := range c.replicas {
			b, _ := os.ReadFile(r.log())
			lines := strings.Split(string(b), "\n")
			c.Logf("the end of %s:\n%s", r.name("log"), strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
}

// eventually waits until done holds, for longer than a slow and busy machine needs.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	within(t, 10*time.Minute, what, done)
}

// within waits until done holds. Other processes do not announce their changes: it polls.
func within(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
