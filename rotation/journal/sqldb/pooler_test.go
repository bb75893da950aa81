package sqldb

import (
	"testing"

	"rotator/internal/testenv/postgrestest"
	"rotator/rotation/journal"
	"rotator/rotation/journal/journaltest"
)

// TestPooler: every promise holds through a pooler that gives each transaction another session.
func TestPooler(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	address := server.Pooler(t, 3)
	journaltest.Run(t, func(t *testing.T) journal.Journal {
		return open(t, "postgres://postgres@"+address+"/"+nameOf(server.Database(t))+"?sslmode=disable&connect_timeout=300")
	})
}
