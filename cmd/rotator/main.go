// Command rotator keeps xAI API keys young: `rotator help` says what it does, README.md how to begin.
//
// One file holds one command: its flags, what it prints, and its exit code. Package internal/app puts together what acts
// (journal, engine, stores, teams), and connection.go finds out who has it: a daemon, reached over its socket, or this very
// process.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // time zones of policies, also where the system has none

	"github.com/spf13/cobra"

	"rotator/internal/app"
	"rotator/internal/config"
	"rotator/internal/logging"
)

func main() {
	closeMemory()
	signal.Ignore(syscall.SIGXFSZ) // a file that may not grow is a write that fails, not the end of the process
	// Nor is a log that nothing reads any more: it must not take the daemon with it. Programs that this one runs get the
	// signal as ever, which they would not were it ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// The first signal asks to stop; from then on signals act as they do on any program, so the second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, config.Env{}))
}

// run is the whole program. It returns the exit code: 0 done, 1 failed, 2 usage or configuration, 3 a named policy needs
// a human, is overdue or is held.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env config.Env) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &output{Writer: stdout}
	a := &cli{stdout: out, stderr: stderr, env: env, log: slog.New(slog.DiscardHandler)}
	out.deserted = func() {
		if !a.serves {
			cancel() // as if whoever looked had said Ctrl-C
		}
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	defer a.endLog() // also when the command panics
	c, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil && a.serves:
	case out.failed != nil && (err == nil || errors.Is(err, out.failed)):
		err = out.failed
		if errors.Is(err, syscall.EPIPE) {
			err = failed(errTold, "") // no one wants to hear more
		}
	case err != nil && !a.started:
		err = usage(err, "Usage: "+c.UseLine()+"; `rotator help` lists the commands, `rotator help COMMAND` its flags")
	}
	if a.serves { // its last word is for the log, which may have no reader
		var last bytes.Buffer
		code := report(&last, err)
		_, _ = a.logs.Write(last.Bytes())
		return code
	}
	a.endLog() // before what is printed beside it
	return report(stderr, err)
}

// cli is one run of the program: what it got from the system, and its global flags.
type cli struct {
	stdout, stderr io.Writer
	env            config.Env
	started        bool // arguments and flags were understood
	serves         bool // what it writes to stdout is no answer, and need not be read

	configFlag, logFormat, logLevel string

	log  *slog.Logger
	logs *logging.Log // what log writes to; nil before flags were understood
}

func (a *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rotator COMMAND",
		Short: "Rotate xAI API keys without ever breaking those who use them",
		Long: `Rotator keeps xAI (Grok) API keys young. For each key that is due it creates a successor, writes it to the secret
stores where its consumers read it, proves it, and only then retires the old key.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a named policy needs a human, is overdue or is held.`,
		Version:       versionLine(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			log, err := newLogger(a.stderr, a.env, a.logFormat, a.logLevel, c.Name() == "run")
			if err == nil {
				a.logAs(log)
				err = cmp.Or(c.ValidateRequiredFlags(), c.ValidateFlagGroups()) // cobra would do it later, when an error is no misuse any more
			}
			a.started = err == nil
			return err
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFlag, "config", "", "configuration `FILE` (else $ROTATOR_CONFIG, /etc/rotator/rotator.yaml)")
	flags.StringVar(&a.logFormat, "log-format", "text", "`FORMAT` of the log on standard error: text or json")
	flags.StringVar(&a.logLevel, "log-level", "", "least `LEVEL` that is logged: debug, info, warn or error (default: info for run, warn elsewhere)")
	root.AddCommand(
		a.initCommand(),
		a.runCommand(),
		a.reloadCommand(),
		a.checkCommand(),
		a.aclsCommand(),
		a.notifyCommand(),
		a.planCommand(),
		a.rotateCommand(),
		a.statusCommand(),
		a.eventsCommand(),
		a.healthCommand(),
		a.historyCommand(),
		a.abortCommand(),
		a.rollbackCommand(),
		a.reviveCommand(),
		a.revokeCommand(),
		a.holdCommand(),
		a.releaseCommand(),
		a.resolveCommand(),
		a.decommissionCommand(),
		a.forgetCommand(),
		a.keysCommand(),
		a.identifyCommand(),
		a.auditCommand(),
		a.stateCommand(),
		a.sandboxCommand(),
		a.demoCommand(),
		a.versionCommand(),
	)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = aCommand
	}
	return root
}

// aCommand refuses to help with what is no command; cobra would tell of the one above it.
func aCommand(c *cobra.Command, args []string) error {
	_, rest, err := c.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unknown command %q", strings.Join(args, " "))
	}
	return err
}

// setup is what opens the journal and acts on it.
func (a *cli) setup() app.Setup {
	s := app.Setup{Config: a.configFlag, Env: a.env, Log: a.log, Version: programVersion(), Commit: programCommit()}
	if a.logs != nil {
		s.Unlogged = a.logs.Dropped
	}
	return s
}

// userName says who gives an order.
func (a *cli) userName() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if v := strings.TrimSpace(a.env.Get(name)); v != "" {
			return v
		}
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}
