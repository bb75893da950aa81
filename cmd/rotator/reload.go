package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/internal/app"
	"rotator/internal/config"
	"rotator/policies"
)

func (a *cli) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read configuration and policies again",
		Long: `Reload asks the running daemon to read configuration, policies and secrets again, and waits until it did. It ends with 0
when all is in force, and with 2 when something was refused: each problem is printed, what it names stays as it was accepted
before, and all else is in force.`,
		Example: `  rotator reload
  rotator check && rotator reload`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.reload(c.Context()) },
	}
}

func (a *cli) reload(ctx context.Context) error {
	socket, err := a.socket(ctx)
	if err != nil {
		return err
	}
	if socket == "" {
		return usage(errors.New("the configuration names no socket, so the daemon cannot be asked"), "Give it a `socket`, or send the daemon SIGHUP: its log and `rotator status` then show how that ended.")
	}
	client, ok, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	if !ok {
		return failed(fmt.Errorf("%w %s", api.ErrNoDaemon, socket), "Start it: it reads configuration and policies when it starts.")
	}
	if err := client.Reload(ctx); err != nil {
		return err
	}
	if loads, err := client.Loads(ctx); err == nil && len(loads) > 0 {
		fmt.Fprintf(a.stdout, "accepted: %s in force\n", countPolicies(loads))
		return nil
	}
	fmt.Fprintln(a.stdout, "accepted")
	return nil
}

// countPolicies says how many policies the replicas have.
func countPolicies(loads []api.LoadRow) string {
	n := 0
	for _, l := range loads {
		n = max(n, l.Policies)
	}
	return app.CountPolicies(n)
}

// socket is where the daemon listens. A daemon also answers while its configuration is broken: then the file says as well as
// it can.
func (a *cli) socket(ctx context.Context) (string, error) {
	c, err := a.setup().Configuration()
	if err == nil {
		return c.Socket, nil
	}
	var broken policies.Problems
	if !errors.As(err, &broken) {
		return "", err
	}
	socket, ok := config.SocketOf(config.Find(a.configFlag, a.env), a.env)
	if !ok {
		return "", err
	}
	if _, answers, _ := dial(ctx, socket); !answers { // then what is wrong with the file is all there is to say
		return "", err
	}
	return socket, nil
}
