package app

import (
	"bytes"
	"context"
	"errors"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"rotator/rotation/journal"
)

// Run is the daemon: it runs until ctx ends, and then returns nil once all has stopped. listening is told the URL of the page,
// if it is served. Where a service manager starts it again and again, a start that follows failed ones comes after a pause.
func (s Setup) Run(ctx context.Context, listening func(url string)) error {
	return s.afterPause(ctx, func(ctx context.Context) error { return s.run(ctx, listening) })
}

// run is Run without a pause.
func (s Setup) run(ctx context.Context, listening func(url string)) (err error) {
	p, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	v := p.present()
	hangup := hangups(ctx)
	// Everything that can fail comes before anything begins.
	web, control, err := listen(v.Config, s.Log)
	if err != nil {
		return err
	}
	past := s.past(v.Config)
	defer func() { err = errors.Join(err, past.close()) }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var working sync.WaitGroup
	defer working.Wait()
	defer stop() // before the wait: an early return ends what was begun
	if web != nil {
		listening(webURL(v.Config, web))
		public := p.api.Public(nil)
		if past != nil {
			public = p.api.Public(past)
		}
		working.Go(func() { Serve(ctx, s.Log, web, public, publicTime) })
	}
	if control != nil {
		working.Go(func() { Serve(ctx, s.Log, control, p.api.Control(), 0) })
	}
	working.Go(func() { p.tend(ctx) })
	working.Go(func() { _ = p.notifier(channels(v.Config, s.Log)).Run(ctx) }) // it ends with ctx only
	working.Go(func() { p.keepSealing(ctx) })
	working.Go(func() { p.watch(ctx, hangup) })
	working.Go(func() { p.reportToSystemd(ctx) })
	doing := "rotating"
	if v.environment.Observes() {
		doing = "observing; nothing is changed at xAI or in a store"
	}
	s.Log.Info(doing, "version", s.Version, "policies", len(v.Policies), "state", v.Config.State.String(), "config", v.Config.File)
	err = p.scheduler.Run(ctx) // parks within its own limit, which is below the 30 s that are promised
	s.Log.Info("stopped")
	return err
}

// tellRestored reports once a journal that was made from a backup.
func (p *Program) tellRestored(ctx context.Context) error {
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

// hangups reports each SIGHUP until ctx ends.
func hangups(ctx context.Context) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(c) })
	return c
}

// publicTime is how long an answer for everyone on this machine may take until it is read: it comes from a snapshot. To
// those who may give orders an answer is due when it is there, a check of many stores after minutes.
const publicTime = time.Minute

// serverLog is the log of a server. What is wrong with a handshake is the other side's affair, such as a port scanner's, who
// could fill the log: it is told for debugging only.
func serverLog(log *slog.Logger) *stdlog.Logger {
	return stdlog.New(serverLines{log}, "", 0)
}

type serverLines struct{ log *slog.Logger }

// Write implements io.Writer. A line comes in one piece.
func (l serverLines) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error ")) {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, string(bytes.TrimRight(line, "\n")))
	return len(line), nil
}

// Serve answers until ctx ends, each question within a time (0: any). Clients that wait for events then are cut off; other
// answers get a moment to end.
func Serve(ctx context.Context, log *slog.Logger, l net.Listener, h http.Handler, within time.Duration) {
	s := &http.Server{
		Handler:           atWork(h),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      within,
		IdleTimeout:       time.Minute, // Prometheus asks again within it
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withGuest,
		ErrorLog:          serverLog(log),
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
		log.Error("a listener failed", "address", l.Addr().String(), "err", err)
	}
	if !stop() {
		<-ended
	}
}
