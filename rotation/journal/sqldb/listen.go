package sqldb

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is what wakes are notified on.
const channel = "rotator_woken"

// The pauses of a listener between a session that was lost and the next.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// tell: the database delivers it when the transaction commits, and never otherwise.
func (e *postgresDB) tell(ctx context.Context, t tx) error {
	_, err := t.exec(ctx, "SELECT pg_notify('"+channel+"', '')")
	return err
}

// hear listens again and again. What was told while nothing listened is made up for by a wake.
func (e *postgresDB) hear(ctx context.Context, wake func()) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		begun := time.Now()
		e.listen(ctx, wake)
		if time.Since(begun) > lastPause {
			pause = firstPause
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen calls wake at once and for each notification, on a session of its own, until that breaks or ctx ends.
func (e *postgresDB) listen(ctx context.Context, wake func()) {
	session, err := e.connect(ctx)
	if err != nil {
		return
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = session.Close(ctx) // it is over either way
	}()
	if _, err := session.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	for err == nil {
		wake()
		_, err = session.WaitForNotification(ctx)
	}
}

// connect makes a connection that is not the pool's. One that nothing answers on is given up after a minute.
func (e *postgresDB) connect(ctx context.Context) (session *pgx.Conn, err error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	err = e.login(ctx, func(cfg *pgx.ConnConfig) error {
		cfg.DialFunc = d.DialContext
		session, err = pgx.ConnectConfig(ctx, cfg)
		return err
	})
	return session, err
}
