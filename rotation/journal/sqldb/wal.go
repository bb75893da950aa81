package sqldb

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// The write-ahead log of a file (its -wal) takes every commit. SQLite copies it into the database and begins it again when
// nothing reads an old state in it. A reader with a long transaction prevents that; then it grows with every commit.
const (
	walKept  = 8 << 20          // the size in bytes that it is cut back to, a little more than it has at usual times
	walTold  = 32 << 20         // the size from which a reader that prevents that is reported
	walEvery = 30 * time.Second // between two looks
	walSoon  = time.Minute      // how long a reader may take before it is reported: a backup, say
)

// walKeeper keeps the write-ahead log short, on a connection of its own: no commit waits for it.
type walKeeper struct {
	path  string // of the -wal
	s     *session
	log   *slog.Logger
	since time.Time // the log has been longer than walKept, though it should not be
	told  bool
	stop  context.CancelFunc
	ended chan struct{}
}

func (e *sqliteDB) newWALKeeper(ctx context.Context, log *slog.Logger) (*walKeeper, error) {
	s, err := newSession(ctx, e.pool)
	if err != nil {
		return nil, err
	}
	// Nothing waits for a lock here: what others are at is done by the next look.
	if _, err := s.conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &walKeeper{path: e.path + "-wal", s: s, log: log, stop: func() {}}, nil
}

// run looks now and then, until close.
func (k *walKeeper) run() {
	ctx, stop := context.WithCancel(context.Background())
	k.stop, k.ended = stop, make(chan struct{})
	go func() {
		defer close(k.ended)
		tick := time.NewTicker(walEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				k.look(ctx, now)
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (k *walKeeper) close() error {
	k.stop()
	if k.ended != nil {
		<-k.ended
	}
	return k.s.close()
}

// look cuts the log back where it is long, and reports once when someone prevents that for long.
func (k *walKeeper) look(ctx context.Context, now time.Time) {
	size, err := sizeOf(k.path)
	if err == nil && size > walKept {
		if err = k.cut(ctx); err == nil {
			size, err = sizeOf(k.path)
		}
	}
	switch {
	case err != nil:
		k.log.Debug("the journal's write-ahead log is not looked after", "err", err)
	case size <= walKept:
		if k.told {
			k.log.Info("the journal's write-ahead log is short again", "bytes", size)
		}
		k.since, k.told = time.Time{}, false
	case k.since.IsZero():
		k.since = now
	case !k.told && size > walTold && now.Sub(k.since) >= walSoon:
		k.log.Warn("the journal's write-ahead log grows: another process reads an old state of the journal; it is cut back when that ends",
			"file", k.path, "bytes", size, "since", k.since)
		k.told = true
	}
}

// cut copies the log into the database, which holds up nothing, and then, when everything is copied, makes it empty.
func (k *walKeeper) cut(ctx context.Context) error {
	var busy, frames, copied int64
	for _, mode := range []string{"PASSIVE", "TRUNCATE"} {
		if _, err := one(ctx, k.s, []any{&busy, &frames, &copied}, "PRAGMA wal_checkpoint("+mode+")"); err != nil {
			return err
		}
		if copied < frames { // a reader needs the rest; to cut would only keep those who write waiting
			return nil
		}
	}
	return nil
}

// sizeOf is the size of a file, 0 when there is none.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// size is that of the file and of its write-ahead log, which is a part of it until it is copied.
func (e *sqliteDB) size(ctx context.Context) (bytes int64, err error) {
	if e.path == "" {
		err = e.read(ctx, func(ctx context.Context, t tx) error {
			_, err := one(ctx, t, []any{&bytes}, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`)
			return err
		})
		return bytes, err
	}
	for _, path := range []string{e.path, e.path + "-wal"} {
		n, err := sizeOf(path)
		if err != nil {
			return 0, err
		}
		bytes += n
	}
	return bytes, nil
}

// size is that of our tables with their indexes, where others keep theirs beside them.
func (e *postgresDB) size(ctx context.Context) (bytes int64, err error) {
	err = e.ask(ctx, func(ctx context.Context, t tx) error {
		_, err := one(ctx, t, []any{&bytes}, `SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class WHERE relkind = 'r'
			AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'schema_version'::regclass)`)
		return err
	})
	return bytes, err
}

// Size implements journal.Reader.
func (db *DB) Size(ctx context.Context) (int64, error) { return db.size(ctx) }
