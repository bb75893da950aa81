package sqldb

import (
	"testing"

	"rotator/internal/postgrestest"
	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	t.Run("suite", func(t *testing.T) {
		journaltest.Run(t, func(t *testing.T) journal.Journal { return open(t, server.Database(t)) })
	})
}
