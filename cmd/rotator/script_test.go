package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rotator/internal/api"
	"rotator/internal/secret"
	"rotator/internal/testenv/awstest"
	"rotator/internal/testenv/postgrestest"
	"rotator/xai"
	"rotator/xai/xaisim"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // the sessions wait much more than they work
	syscall.Umask(0o022)               // a configuration that a group may write is refused
	for _, name := range []string{"TMPDIR", "GOTMPDIR"} {
		if len(os.Getenv(name)) > 40 { // a socket's path has 107 bytes at most: there would be no room for one
			_ = os.Setenv(name, "/tmp")
		}
	}
	testscript.Main(m, map[string]func(){"rotator": main})
}

// simTeam is the team of every script.
const simTeam = "team-1"

// base is the configuration of every script. Limits are short, since both addresses are on loopback.
const base = `state: sqlite:rotator.db
policies: policies
socket: rotator.sock
xai: {management_url: "%[1]s", inference_url: "%[1]s"}
teams: {research: {management_key: "file:management.key"}}
stores: {local: {type: file, dir: secrets}}
limits: {min_interval: 1s, quarantine: 1s, watch: 1s}
`

// outside is what a script's commands share.
type outside struct {
	sim        *xaisim.Sim
	late       *atomic.Int64 // how late clusters learn of keys that are made from now on, in nanoseconds
	management *xai.Management
	key        secret.Text // the management key in management.key

	changes atomic.Int64 // requests of xAI that change something

	mu     sync.Mutex
	events []string // guarded by mu: kinds that the webhook was told, with a signature
}

// hook takes what the webhook is told.
func (o *outside) hook(_ http.ResponseWriter, r *http.Request) {
	var m struct{ Kind string }
	if json.NewDecoder(r.Body).Decode(&m) == nil && r.Header.Get("Rotator-Signature") != "" {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, m.Kind)
	}
}

// TestScripts runs the sessions in testdata/script, each with a simulated xAI of its own.
func TestScripts(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database(t) // for one script
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("POSTGRES", database)
			return setup(e)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"up":     cmdUp,
			"until":  cmdUntil,
			"mode":   cmdMode,
			"fields": cmdFields,
			"simkey": cmdSimKey,
			"keys":   cmdKeys,
			"append": cmdAppend,
			"same":   cmdSame,
			"signal": cmdSignal,
			"late":   cmdLate,
			"get":    cmdGet,
			"hooked": cmdHooked,
			"newkey": cmdNewKey,
			"aws":    cmdAWS,
			"asked":  cmdAsked,
		},
	})
}

func setup(e *testscript.Env) error {
	late := new(atomic.Int64)
	late.Store(int64(20 * time.Millisecond))
	sim := xaisim.New(xaisim.Options{Seed: 1, Propagation: func(*rand.Rand) time.Duration { return time.Duration(late.Load()) }})
	key := sim.NewManagementKey(simTeam)
	server := httptest.NewServer(sim)
	e.Defer(server.Close)
	e.Setenv("XAI", server.URL)
	e.Setenv("USER", "ada")
	e.Setenv("ROTATOR_CONFIG", "rotator.yaml")
	m, err := xai.NewManagement(xai.ManagementOptions{URL: server.URL, HTTP: &http.Client{Transport: sim.Transport()},
		Key: func(context.Context) (secret.Text, error) { return key, nil }})
	if err != nil {
		return err
	}
	o := &outside{sim: sim, late: late, management: m, key: key}
	sim.OnCall(func(c xaisim.Call) {
		if !c.Done && slices.Contains([]string{"create", "update", "delete", "rotate"}, c.Op) {
			o.changes.Add(1)
		}
	})
	hook := httptest.NewServer(http.HandlerFunc(o.hook))
	e.Defer(hook.Close)
	e.Setenv("HOOK", hook.URL)
	e.Setenv("HOOK_SECRET", "signing-canary-of-the-webhook")
	e.Values["outside"] = o
	for _, dir := range []string{"secrets", "policies"} {
		if err := os.MkdirAll(filepath.Join(e.WorkDir, dir), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"management.key": key.Reveal() + "\n", "rotator.yaml": fmt.Sprintf(base, server.URL)} {
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// wait is how long a script waits for what must come. It is only reached when it does not.
const wait = 2 * time.Minute

// eventually asks until it is so, or fails the script.
func eventually(ts *testscript.TestScript, what string, so func() bool) {
	for end := time.Now().Add(wait); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s did not come to be", what)
		}
	}
}

// cmdUp waits until the daemon answers at the socket: up.
func cmdUp(ts *testscript.TestScript, _ bool, _ []string) {
	client := api.Dial(ts.MkAbs("rotator.sock"))
	eventually(ts, "a daemon", func() bool {
		_, err := client.Version(context.Background())
		return err == nil
	})
}

// cmdUntil runs a command until what it prints matches: until REGEXP COMMAND...
func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	re := regexp.MustCompile(args[0])
	eventually(ts, args[0], func() bool {
		_ = ts.Exec(args[1], args[2:]...) // status may say 3
		return re.MatchString(ts.ReadFile("stdout")) != neg
	})
}

// cmdMode checks the mode of a file: mode FILE 0600.
func cmdMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// cmdFields checks that the last output is a JSON array of objects with exactly these fields, in this order, and that no
// value of it is anything but what a row holds: fields NAME...
func cmdFields(ts *testscript.TestScript, _ bool, want []string) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	var rows []json.RawMessage
	ts.Check(d.Decode(&rows))
	if len(rows) == 0 {
		ts.Fatalf("no rows")
	}
	for _, row := range rows {
		var got []string
		d := json.NewDecoder(strings.NewReader(string(row)))
		_, err := d.Token()
		ts.Check(err)
		for d.More() {
			name, err := d.Token()
			ts.Check(err)
			got = append(got, fmt.Sprint(name))
			var value json.RawMessage
			ts.Check(d.Decode(&value))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			ts.Fatalf("fields are %s", got)
		}
	}
}

// cmdSimKey makes a key at the simulated xAI and writes its secret into a file; $ID is its id then: simkey NAME FILE [ACL...].
func cmdSimKey(ts *testscript.TestScript, _ bool, args []string) {
	m := ts.Value("outside").(*outside).management
	acls := args[2:]
	if len(acls) == 0 {
		acls = []string{"api-key:model:grok-4", "api-key:endpoint:chat"}
	}
	k, err := m.CreateKey(context.Background(), simTeam, xai.CreateRequest{Name: args[0], ACLs: acls})
	ts.Check(err)
	eventually(ts, "a propagated key", func() bool {
		clusters, err := m.Propagation(context.Background(), k.ID)
		return err == nil && clusters.Complete()
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(k.Secret.Reveal()), 0o600))
	ts.Setenv("ID", k.ID)
}

// cmdKeys checks how many keys the simulated xAI holds: keys N.
func cmdKeys(ts *testscript.TestScript, _ bool, args []string) {
	var n int
	eventually(ts, args[0]+" keys", func() bool {
		list, err := ts.Value("outside").(*outside).management.ListKeys(context.Background(), simTeam)
		ts.Check(err)
		n = len(list.Keys)
		return fmt.Sprint(n) == args[0]
	})
}

// cmdAsked checks how many changes xAI was asked for so far: asked N.
func cmdAsked(ts *testscript.TestScript, _ bool, args []string) {
	if n := ts.Value("outside").(*outside).changes.Load(); fmt.Sprint(n) != args[0] {
		ts.Fatalf("xAI was asked for %d changes", n)
	}
}

// cmdAppend adds a line to a file: append FILE TEXT.
func cmdAppend(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	ts.Check(err)
	_, err = f.WriteString(args[1] + "\n")
	ts.Check(err)
	ts.Check(f.Close())
}

// cmdLate says how late clusters learn of keys that are made from now on: late DURATION.
func cmdLate(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	ts.Value("outside").(*outside).late.Store(int64(d))
}

// cmdGet asks the page of the daemon whose standard output is the file out: get PATH. The answer is in the file answer.
func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	var answer *http.Response
	eventually(ts, "an answer", func() bool {
		out, err := os.ReadFile(ts.MkAbs("out"))
		_, url, found := strings.Cut(strings.TrimSpace(string(out)), "listening on ")
		if err != nil || !found {
			return false
		}
		answer, err = http.Get(url + args[0])
		return err == nil && answer.StatusCode == http.StatusOK
	})
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), body, 0o600))
}

// cmdHooked waits until the webhook was told of a kind of event: hooked KIND.
func cmdHooked(ts *testscript.TestScript, _ bool, args []string) {
	o := ts.Value("outside").(*outside)
	eventually(ts, "the event "+args[0], func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return slices.Contains(o.events, args[0])
	})
}

// cmdNewKey revokes the management key, and puts one for a team into its file: newkey TEAM.
func cmdNewKey(ts *testscript.TestScript, _ bool, args []string) {
	o := ts.Value("outside").(*outside)
	o.sim.RevokeManagementKey(o.key)
	o.key = o.sim.NewManagementKey(args[0])
	ts.Check(os.WriteFile(ts.MkAbs("management.key"), []byte(o.key.Reveal()), 0o600))
}

// cmdAWS starts an AWS at $AWS that has one secret, for an access key with these actions: aws SECRET ACTION...
func cmdAWS(ts *testscript.TestScript, _ bool, args []string) {
	const key = "AKIDSCRIPT"
	aws := awstest.New()
	actions, err := json.Marshal(args[1:])
	ts.Check(err)
	ts.Check(aws.Attach(key, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": %s, "Resource": "*"}]}`, actions)))
	aws.Region("eu-west-1").Put(args[0], "{}")
	server := httptest.NewServer(aws)
	ts.Defer(server.Close)
	for name, value := range map[string]string{"AWS": server.URL, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "canary", "AWS_EC2_METADATA_DISABLED": "true"} {
		ts.Setenv(name, value)
	}
}

// cmdSignal sends a signal to the process that has the journal, which its lock names: signal TERM|HUP.
func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	var pid int
	_, err := fmt.Sscanf(ts.ReadFile("rotator.db.lock"), "pid %d", &pid)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[args[0]]))
}

// cmdSame checks that nothing was written below the script's folder since the last same, apart from locks: same.
func cmdSame(ts *testscript.TestScript, _ bool, _ []string) {
	var b strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs("."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(path, ".tmp/") || filepath.Base(path) == "seen" {
			return nil
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, content)
		return err
	}))
	seen := ts.MkAbs("seen")
	before, err := os.ReadFile(seen)
	if err == nil && string(before) != b.String() {
		ts.Fatalf("something was written")
	}
	ts.Check(os.WriteFile(seen, []byte(b.String()), 0o600))
}
