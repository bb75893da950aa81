package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/app"
	"rotator/internal/secret"
	"rotator/rotation/journal"
	"rotator/xai"
	"rotator/xai/xaisim"
)

func (a *cli) demoCommand() *cobra.Command {
	var length time.Duration
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show rotations on this machine, with a simulated xAI and nothing configured",
		Long: `Demo rotates the keys of three policies every few seconds, in a simulated xAI and a folder of files, while consumers
read their keys from those files and chat all the time. It needs no network and no root, and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.runDemo(c.Context(), length) },
	}
	c.Flags().DurationVar(&length, "for", 40*time.Second, "run for this `DURATION`")
	return c
}

// The demo's policies: the pace is a month's, in seconds.
var demoPolicies = map[string]string{
	"chat":    "@every 12s",
	"search":  "@every 15s",
	"billing": "@every 18s",
}

const demoConfig = `state: sqlite:%[1]s/rotator.db
policies: %[1]s/policies
socket: /rotator-demo.sock # that nobody opens: the folder's name may be too long for one
xai: {management_url: "%[2]s", inference_url: "%[2]s"}
teams: {demo: {management_key: "file:%[1]s/management.key"}}
stores: {files: {type: file, dir: "%[1]s/secrets"}}
limits: {min_interval: 1s, watch: 5s, quarantine: 10s}
`

const demoPolicy = `name: %[1]s
team: demo
schedule: "%[2]s"
key: {acls: ["api-key:model:grok-4", "api-key:endpoint:chat"]}
targets: [{store: files, path: %[1]s}]
retire: {overlap: 3s, soak: 3s}
`

// runDemo runs the whole product as it is, on files of its own in a temporary folder.
func (a *cli) runDemo(ctx context.Context, length time.Duration) (err error) {
	if length <= 0 {
		return usage(fmt.Errorf("--for %s: it must last longer", length), "Give a time such as 40s.")
	}
	if a.logLevel == "" {
		log, err := newLogger(a.stderr, a.env, a.logFormat, "error", false)
		if err != nil {
			return err
		}
		a.logAs(log)
	}
	dir, err := os.MkdirTemp("", "rotator-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	sim := xaisim.New(xaisim.Options{})
	var working sync.WaitGroup
	defer working.Wait()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	working.Go(func() { app.Serve(serving, a.log, l, sim, 0) })
	url := "http://" + l.Addr().String()
	if err := layDemo(dir, url, sim.NewManagementKey("demo")); err != nil {
		return err
	}
	a.configFlag = filepath.Join(dir, "rotator.yaml")
	p, err := a.setup().Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return a.showDemo(ctx, p, sim, url, dir, length)
}

// layDemo writes what a user would have written.
func layDemo(dir, url string, key secret.Text) error {
	for _, d := range []string{"policies", "secrets"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{
		"management.key": key.Reveal(), // it opens a simulated xAI that ends with this process
		"rotator.yaml":   fmt.Sprintf(demoConfig, dir, url),
	}
	for name, schedule := range demoPolicies {
		files["policies/"+name+".yaml"] = fmt.Sprintf(demoPolicy, name, schedule)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// showDemo rotates and reports it until the time is over or Ctrl-C.
func (a *cli) showDemo(ctx context.Context, p *app.Program, sim *xaisim.Sim, url, dir string, length time.Duration) error {
	fmt.Fprintf(a.stdout, `Three policies, a simulated xAI at %s, and a folder of files that consumers read their keys from.
A month lasts some seconds here. Each consumer reads its file before every chat call. %s, or Ctrl-C.

`, url, length)
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	inference, err := xai.NewInference(xai.InferenceOptions{URL: url})
	if err != nil {
		return err
	}
	var crowd consumers
	var working sync.WaitGroup
	for name := range demoPolicies {
		working.Go(func() { crowd.chat(ctx, inference, filepath.Join(dir, "secrets", name)) })
	}
	working.Go(func() { a.narrate(ctx, p.Journal(), &crowd) })
	err = p.Rotate(ctx)
	stop()
	working.Wait()
	return errors.Join(err, a.sumUp(p.Journal(), sim, &crowd))
}

// consumers count what those who use the keys experience.
type consumers struct{ calls, failures atomic.Int64 }

// chat reads the key as a consumer does, and uses it at once, again and again.
func (c *consumers) chat(ctx context.Context, inference *xai.Inference, file string) {
	for ctx.Err() == nil {
		if b, err := os.ReadFile(file); err == nil {
			err := inference.Chat(context.WithoutCancel(ctx), secret.New(string(b)), "grok-4")
			c.calls.Add(1)
			if err != nil {
				c.failures.Add(1)
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// narrate prints each event as it comes, above a line of figures where there is a terminal to redraw it on.
func (a *cli) narrate(ctx context.Context, j journal.Reader, c *consumers) {
	start, seen := time.Now(), int64(0)
	columns, _, live := a.screen()
	live = live && columns >= 60 // its line is not broken into two
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		events, err := j.Events(context.WithoutCancel(ctx), seen, 100)
		if err != nil {
			return // the engine says so in the log
		}
		for _, e := range events {
			seen = e.ID
			if line, ok := narrated[e.Kind]; ok {
				a.clear(live)
				fmt.Fprintf(a.stdout, "%5.1fs  %-8s  %-46s %s\n", e.At.Sub(start).Seconds(), e.Policy, line, short(e.Data["key_id"]))
			}
		}
		if live {
			fmt.Fprintf(a.stdout, "\r%5.1fs  consumers: %d calls, %d failed ", time.Since(start).Seconds(), c.calls.Load(), c.failures.Load())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			a.clear(live)
			return
		}
	}
}

// narrated are the events of the story, in the words of one.
var narrated = map[journal.Kind]string{
	journal.Started:     "is due",
	journal.KeyCreated:  "successor created at xAI",
	journal.KeyStaged:   "staged beside the current key",
	journal.KeyVerified: "every cluster knows it, and it proved itself",
	journal.Promoted:    "LIVE: consumers read the successor",
	journal.KeyDisabled: "overlap over: old key disabled",
	journal.KeyDeleted:  "soak over: old key deleted",
	journal.Finished:    "done, one key left",
	journal.Failed:      "a step failed; it will be tried again",
}

func (a *cli) clear(live bool) {
	if live {
		fmt.Fprint(a.stdout, "\r\x1b[K")
	}
}

func short(id string) string {
	head, _, _ := strings.Cut(id, "-")
	return head
}

// sumUp says how it went, and fails when a consumer was let down.
func (a *cli) sumUp(j journal.Reader, sim *xaisim.Sim, c *consumers) error {
	done, err := j.Rotations(context.Background(), "", 1000)
	if err != nil {
		return err
	}
	live := 0
	for _, r := range done {
		if !r.LiveAt.IsZero() {
			live++
		}
	}
	fmt.Fprintf(a.stdout, "\n%d rotations, %d keys made, %d of them left. Consumers: %d calls, %d failed.\n",
		live, len(sim.Keys("demo")), len(sim.Live("demo")), c.calls.Load(), c.failures.Load())
	if n := c.failures.Load(); n > 0 {
		return failed(fmt.Errorf("%d calls of consumers failed", n), "")
	}
	return nil
}
