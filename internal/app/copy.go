package app

import (
	"context"
	"errors"
	"fmt"

	"rotator/internal/config"
	"rotator/rotation/journal"
	"rotator/rotation/journal/sqldb"
)

// CopyJournal writes the whole journal of one state into another, which is empty, and returns how many rows it has. Errors
// name the states as flags of a command.
func (s Setup) CopyJournal(ctx context.Context, from, to config.State) (rows int, err error) {
	source, err := s.openToCopy(ctx, "--from", from, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	copied, err := s.openToCopy(ctx, "--to", to, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()
	if rows, err = sqldb.Copy(ctx, source, copied); err != nil {
		return 0, failed(err, copyAdvice(err))
	}
	return rows, nil
}

// openToCopy opens one side. What is copied must be there: opening would begin a new journal.
func (s Setup) openToCopy(ctx context.Context, flag string, of config.State, mustExist bool) (*sqldb.DB, error) {
	address, err := of.Address(ctx)
	if err != nil {
		return nil, usage(err, flag+" must name a secret that can be read.")
	}
	o := s.journalOptions(of)
	if mustExist {
		looking := o
		looking.ReadOnly = true
		db, err := sqldb.Open(ctx, address.Reveal(), looking)
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			return nil, failed(fmt.Errorf("%s: %w", flag, err), copyAdvice(err))
		}
	}
	db, err := sqldb.Open(ctx, address.Reveal(), o)
	if err != nil {
		return nil, failed(fmt.Errorf("%s: %w", flag, err), copyAdvice(err))
	}
	return db, nil
}

func copyAdvice(err error) string {
	switch {
	case errors.Is(err, journal.ErrInUse):
		return "Stop every daemon and command that uses it; then nothing can change while it is copied."
	case errors.Is(err, sqldb.ErrNotEmpty):
		return "Give a database or a file of its own: a copy never mixes with what is there."
	case errors.Is(err, sqldb.ErrNoJournal):
		return "There is no journal to copy."
	case errors.Is(err, journal.ErrNewer), errors.Is(err, sqldb.ErrOlder):
		return "Copy with the version of Rotator that the journal is from."
	}
	return "Both are written as `state` in the configuration is, and must be reached from here."
}
