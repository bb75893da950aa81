package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rotator/internal/api"
	"rotator/rotation/journal"
	"rotator/rotation/reason"
)

func (a *app) runCommand() *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon: rotate whatever is due, until it is stopped",
		Long: `Run rotates whatever is due, serves the page and the commands, and reads configuration and policies again when they
change or on SIGHUP. SIGTERM and SIGINT park the steps in hand within 30 seconds and end it with 0; a second one kills it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if once {
				return a.runOnce(c.Context())
			}
			return a.afterPause(c.Context(), a.runDaemon)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "do everything that is due or in flight and can move now, then exit")
	return c
}

func (a *app) runOnce(ctx context.Context) (err error) {
	p, err := a.openProgram(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.telling(ctx, func() error { return p.engine.RunOnce(ctx) }); err != nil && ctx.Err() == nil {
		return err
	}
	all, err := p.journal.Summaries(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	stuck := 0
	for _, s := range all {
		if s.Policy.Failures > 0 || reason.NeedsHuman(s.Policy.Reason) {
			fmt.Fprintf(a.stderr, "%s: %s: %s\n", s.Policy.Name, s.Policy.Reason, cmp.Or(s.Policy.Error, whatToDo(string(s.Policy.Reason))))
			stuck++
		}
	}
	if stuck > 0 {
		return failed(fmt.Errorf("%d of %s did not get on", stuck, countPolicies(len(all))), "`rotator status` shows why; the next run tries again.")
	}
	return nil
}

// runDaemon runs until ctx ends.
func (a *app) runDaemon(ctx context.Context) (err error) {
	a.serves = true
	p, err := a.openProgram(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	v := p.present()
	hangup := hangups(ctx)
	// Everything that can fail comes before anything begins.
	web, control, err := listen(v.config)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var working sync.WaitGroup
	defer working.Wait()
	defer stop() // before the wait: an early return ends what was begun
	if web != nil {
		fmt.Fprintf(a.stdout, "listening on http://%s\n", web.Addr())
		working.Go(func() { a.serve(ctx, web, p.api.Public(), publicTime) })
	}
	if control != nil {
		working.Go(func() { a.serve(ctx, control, p.api.Control(), 0) })
	}
	p.warnOfGaps(ctx)
	working.Go(func() { p.tend(ctx) })
	working.Go(func() { _ = p.notifier().Run(ctx) }) // it ends with ctx only
	working.Go(func() { p.watch(ctx, hangup) })
	working.Go(func() { p.reportToSystemd(ctx) })
	a.log.Info("rotating", "version", programVersion(), "policies", len(v.policies), "state", v.config.State.String(), "config", v.config.File)
	err = p.engine.Run(ctx) // parks within its own limit, which is below the 30 s that are promised
	a.log.Info("stopped")
	return err
}

// tellRestored tells once of a journal that was made from a backup.
func (p *program) tellRestored(ctx context.Context) error {
	mark, err := p.journal.Meta(ctx, journal.MetaRestored)
	if err != nil || mark == "" {
		return err
	}
	if was, err := p.journal.Meta(ctx, journal.MetaRestoredTold); err != nil || was == mark {
		return err
	}
	p.log.Warn("the journal was restored from a backup: nothing is created or destroyed until the targets were compared")
	if err := p.journal.Record(ctx, journal.Event{At: time.Now(), Kind: journal.JournalRestored}); err != nil {
		return err
	}
	return p.journal.SetMeta(ctx, journal.MetaRestoredTold, mark)
}

// hangups tells of each SIGHUP until ctx ends.
func hangups(ctx context.Context) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(c) })
	return c
}

// publicTime is how long an answer for everybody on this machine may take until it is read: it comes from a snapshot. To
// those who may give orders an answer is due when it is there, a check of many stores after minutes.
const publicTime = time.Minute

// serve answers until ctx ends, each question within a time (0: any). Whoever waits for events then is cut off; other
// answers get a moment to end.
func (a *app) serve(ctx context.Context, l net.Listener, h http.Handler, within time.Duration) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      within,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       api.WithPeer,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if s.Shutdown(late) != nil {
			_ = s.Close()
		}
	})
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		a.log.Error("a listener failed", "address", l.Addr().String(), "err", err)
	}
	if !stop() {
		<-ended
	}
}
