package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/app"
	"rotator/internal/transport"
	"rotator/xai/xaisim"
)

func (a *cli) sandboxCommand() *cobra.Command {
	var s sandbox
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a simulated xAI on this machine, to rehearse policies",
		Long: `Sandbox serves both of xAI's APIs from memory, on loopback only. It prints a configuration for rotator.yaml with a
management key of its own; it is refused by xAI, and xAI's is refused by it. Ctrl-C ends it, and all its keys with it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.runSandbox(c.Context(), s) },
	}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:8421", "loopback `ADDRESS` to serve on; port 0 takes any that is free")
	c.Flags().StringVar(&s.keyFile, "key-file", "", "write the management key to `FILE`, and refer to it there")
	c.Flags().StringVar(&s.team, "team", "sandbox", "`ID` of the team")
	c.Flags().DurationVar(&s.propagation, "propagation", 0, "`DURATION` after which a cluster learns of a key (default: 0.5s to 1.5s)")
	c.Flags().DurationVar(&s.latency, "latency", 0, "`DURATION` that each answer takes")
	c.Flags().BoolVar(&s.guidesOnly, "guides-only", false, "serve only what xAI's two public guides describe")
	return c
}

type sandbox struct {
	listen, keyFile, team string
	propagation, latency  time.Duration
	guidesOnly            bool
}

func (a *cli) runSandbox(ctx context.Context, s sandbox) error {
	l, err := listenLoopback(s.listen)
	if err != nil {
		return err
	}
	o := xaisim.Options{Seed: rand.Uint64(), Latency: s.latency, GuidesOnly: s.guidesOnly}
	if s.propagation > 0 {
		o.Propagation = func(*rand.Rand) time.Duration { return s.propagation }
	}
	sim := xaisim.New(o)
	key := sim.NewManagementKey(s.team).Reveal() // of a simulated xAI: it opens nothing anywhere else
	reference := "env:XAI_MANAGEMENT_KEY"
	note := "#   export XAI_MANAGEMENT_KEY=" + key
	if s.keyFile != "" {
		if err := writeKey(s.keyFile, key); err != nil {
			return failed(errors.Join(err, l.Close()), "Give a file in a folder that you may write.")
		}
		reference, note = "file:"+s.keyFile, "# The management key is in "+s.keyFile+"."
	}
	id := ""
	if s.guidesOnly { // which does not tell it
		id = fmt.Sprintf(", id: %q", s.team)
	}
	fmt.Fprintf(a.stdout, `# A simulated xAI answers at http://%[1]s until Ctrl-C. Nothing here reaches xAI.
%[2]s
xai:
  management_url: http://%[1]s
  inference_url: http://%[1]s
teams:
  sandbox: {management_key: %[3]q%[4]s}
`, l.Addr(), note, reference, id)
	app.Serve(ctx, a.log, l, sim, 0)
	return nil
}

// writeKey writes a management key for its owner alone, whatever mode a file in its place had.
func writeKey(path, key string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.Chmod(0o600)
	if err == nil {
		_, err = f.WriteString(key + "\n")
	}
	return errors.Join(err, f.Close())
}

// listenLoopback refuses any address that other machines could reach.
func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usage(fmt.Errorf("--listen %s is no address", address), "Give HOST:PORT, such as 127.0.0.1:8421.")
	}
	if !transport.Loopback(host) {
		return nil, usage(fmt.Errorf("--listen %s is not on loopback", address), "Give 127.0.0.1:PORT: the sandbox has no protection of its own.")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, failed(err, "Give another port, or 0 for any that is free.")
	}
	return l, nil
}
